"""What carries the alignment of two models: which dimensions, which items, which kinds of content."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vla.activations.labels import as_activations, join
from vla.alignment.duplicates import DUPLICATES, same_items
from vla.alignment.item_scores import (
    FoldMap,
    HeldOut,
    best_and_worst_on_average,
    by_group,
    by_level,
    effective_dimension,
    extremes,
    fold_maps,
    held_out,
    item_scores,
    map_spectrum,
    rank_correlation,
    ridge_settings,
)
from vla.alignment.table import DIRECTIONS
from vla.checks import check_choice
from vla.experiments.experiment import LENGTH, Condition, Experiment, Side
from vla.experiments.gallery import Resolved, groups_of
from vla.experiments.scoring import Bench
from vla.experiments.study import DatasetPlan
from vla.experiments.unchanged import remove_made, unchanged, write_record
from vla.files import file_hash, replacing
from vla.metrics.ridge_settings import RidgeSettings
from vla.records import View, canonical_hash
from vla.stimuli.datasets.coco import coco_categories, locate_coco
from vla.stimuli.samples import write_samples
from vla.stimuli.word_norms import VALUE, WORD, caption_norms, read_norms


@dataclasses.dataclass(frozen=True)
class ItemFacts:
    """What is known of the items beside their activations.

    Attributes:
      captions: By item, as they were shown.
      concreteness: By item the mean norm of its caption's words, NaN where no word has one; empty without norms.
      supercategories: By item the groups of things its photograph shows; empty where that is not known.
    """

    captions: Mapping[str, str]
    concreteness: Mapping[str, float] = dataclasses.field(default_factory=dict)
    supercategories: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


def item_facts(
    shown: View,
    counted: View,
    *,
    instances: str | os.PathLike[str] = "",
    norms: str = "",
    norms_word: str = WORD,
    norms_value: str = VALUE,
) -> ItemFacts:
    """Captions as shown, and what norms and instances say of the items.

    Args:
      shown: Captions as language models read them.
      counted: Captions whose words are looked up in the norms.
      instances: COCO's instances file; "" for none.
      norms: File of norms of words; "" for none.
      norms_word: Its column of words.
      norms_value: Its column of values.

    Raises:
      ValueError: A file that cannot be used, or that says nothing of these items.
    """
    captions = {id: str(caption) for id, caption in zip(shown.ids, shown.stimuli, strict=True)}
    concreteness: dict[str, float] = {}
    if norms:
        means, _ = caption_norms(
            [str(caption) for caption in counted.stimuli], read_norms(norms, norms_word, norms_value)
        )
        concreteness = dict(zip(counted.ids, means, strict=True))
        if not np.isfinite(means).any():
            raise ValueError(f"{norms} has no word of the captions, such as {counted.stimuli[0]!r}")
    kinds: dict[str, tuple[str, ...]] = {}
    if instances:
        there = coco_categories(instances)
        kinds = {id: tuple(sorted({kind.supercategory for kind in there[id]})) for id in shown.ids if id in there}
        if not kinds:
            raise ValueError(f"{instances} lists none of the items of {shown.name}, such as {shown.ids[0]!r}")
    return ItemFacts(captions, concreteness, kinds)


def instances_beside(plan: DatasetPlan) -> str:
    """The instances file in COCO's directory; "" where there is none, or where the dataset is another."""
    if plan.directory is None or not plan.name.startswith("coco"):
        return ""
    try:
        found = locate_coco(plan.directory).instances
    except ValueError:
        return ""
    return "" if found is None else str(found)


CONCRETENESS, SUPERCATEGORY = "concreteness", "supercategory"
LEVELS = ("abstract", "middle", "concrete")


@dataclasses.dataclass(frozen=True)
class Content:
    """The tables of one direction of one layer pair; `vla.experiments.content.NAMES` are their file names.

    Attributes:
      items: Per item: the scores of `vla.alignment.item_scores`, caption, concreteness, supercategories.
      spectrum: Per direction of the map: see `vla.alignment.item_scores`; the effective dimension in every row.
      directions: Items at the ends of the leading directions.
      content: Per kind of content: see `vla.alignment.item_scores`.
    """

    items: pd.DataFrame
    spectrum: pd.DataFrame
    directions: pd.DataFrame
    content: pd.DataFrame


NAMES = {"items": "items.parquet", "spectrum": "spectrum.csv", "directions": "directions.csv", "content": "content.csv"}


def content(
    x: Any,
    y: Any,
    facts: ItemFacts,
    *,
    settings: RidgeSettings | None = None,
    n_directions: int = 5,
    n_extreme: int = 5,
    score: str = "correlation",
) -> Content:
    """Predict `y` from `x`, one layer each, and look into the map and into its held-out predictions.

    Args:
      x: Activations of one layer, the predictor; items named.
      y: Activations of one layer of the same items, the target.
      facts: Of the items.
      settings: Of the ridge map, as of `vla.alignment.item_scores.ridge_settings`; its seed is the bootstrap's too;
        None takes the paper's.
      n_directions: How many leading directions have their extreme items listed.
      n_extreme: How many items at each end.
      score: Which score of an item is compared between kinds of content: "correlation" or "match".

    Raises:
      ValueError: several layers; a bad setting; an item without a caption; or as `vla.alignment.item_scores`.
    """
    check_choice("score", score, ("correlation", "match"))
    x, y = join(as_activations(x, "x"), as_activations(y, "y"))
    for role, array in (("x", x), ("y", y)):
        if array.sizes["layer"] != 1:
            raise ValueError(f"{role} has {array.sizes['layer']} layers: select one, such as x.isel(layer=[-2])")
    names = [str(name) for name in x["item"].values.tolist()]
    lacking = [name for name in names if name not in facts.captions]
    if lacking:
        raise ValueError(f"item {lacking[0]!r} and {len(lacking) - 1} others have no caption in the facts")
    settings = settings or ridge_settings()
    from_x, to_y = x.values[0], y.values[0]
    maps = list(fold_maps(from_x, to_y, settings))
    out = held_out(maps)
    items = _with_facts(item_scores(out, names), facts)
    scores = dict(zip(names, items[score], strict=True))
    return Content(
        items,
        _spectrum(maps),
        _extreme_items(from_x, to_y, out, settings, items, n_directions, n_extreme),
        _kinds(scores, facts, score, settings.seed),
    )


def tagged(table: pd.DataFrame, **words: Any) -> pd.DataFrame:
    """The table with columns before its own that say what it is of, such as vision_model and direction."""
    return pd.concat([pd.DataFrame(words, index=table.index), table], axis=1)


def write_content(parts: Sequence[Content], folder: Path) -> list[Path]:
    """The tables of several model pairs and directions in one file each, put in place whole; returns their paths."""
    paths = []
    for field, name in NAMES.items():
        table = pd.concat([getattr(part, field) for part in parts], ignore_index=True)
        path = folder / name
        with replacing(path) as temporary:
            if path.suffix == ".parquet":
                table.to_parquet(temporary, index=False)
            else:
                table.to_csv(temporary, index=False)
        paths.append(path)
    return paths


def _with_facts(items: pd.DataFrame, facts: ItemFacts) -> pd.DataFrame:
    names = items["item"].tolist()
    kinds = [";".join(facts.supercategories[n]) if n in facts.supercategories else None for n in names]
    return items.assign(
        caption=[facts.captions[name] for name in names],
        concreteness=[float(facts.concreteness.get(name, np.nan)) for name in names],
        supercategories=pd.array(kinds, dtype="string"),
    )


def _spectrum(maps: list[FoldMap]) -> pd.DataFrame:
    spectrum = map_spectrum(maps)
    dimension = effective_dimension(spectrum["shared_share"].to_numpy())
    of_target = float(np.mean([effective_dimension(_variances(one)) for one in maps]))
    return spectrum.assign(effective_dimension=dimension, target_dimension=of_target)


def _variances(one: FoldMap) -> np.ndarray:
    """Variances of the held-out target along its own principal directions."""
    centred = one.actual - one.actual.mean(axis=0)
    return np.linalg.svd(centred, compute_uv=False)[: len(one.test) - 1] ** 2


def _extreme_items(
    x: np.ndarray,
    y: np.ndarray,
    out: HeldOut,
    settings: RidgeSettings,
    items: pd.DataFrame,
    n_directions: int,
    n_extreme: int,
) -> pd.DataFrame:
    """The items at both ends of every leading direction, the outermost first."""
    found = extremes(x, y, out, settings, n_directions)
    rows = []
    for direction in range(found.directions.shape[1]):
        order = np.argsort(found.predicted[:, direction], kind="stable")
        for end, places in (("high", order[::-1][:n_extreme]), ("low", order[:n_extreme])):
            for place, row in enumerate(places, start=1):
                rows.append(
                    {
                        "rank": direction + 1,
                        "end": end,
                        "place": place,
                        "item": items["item"].iloc[row],
                        "predicted": found.predicted[row, direction],
                        "actual": found.actual[row, direction],
                        "caption": items["caption"].iloc[row],
                    }
                )
    return pd.DataFrame(rows)


def _kinds(scores: dict[str, float], facts: ItemFacts, score: str, seed: int) -> pd.DataFrame:
    """One row per kind of content, and one of the rank correlation with concreteness, whose `mean` is rho."""
    tables = []
    levels = {name: value for name, value in facts.concreteness.items() if name in scores and np.isfinite(value)}
    if len(levels) >= len(LEVELS):
        thirds = by_group(scores, by_level(levels, len(LEVELS), LEVELS), seed=seed)
        tables.append(thirds.assign(kind=CONCRETENESS, statistic=f"mean {score}"))
        rho = rank_correlation(scores, levels, seed=seed)
        whole = {"group": "rank correlation", "mean": rho.pop("rho"), **rho, "statistic": "Spearman rho"}
        tables.append(pd.DataFrame([{**whole, "kind": CONCRETENESS}]))
    if any(facts.supercategories.get(name) for name in scores):
        kinds = by_group(scores, facts.supercategories, seed=seed)
        tables.append(kinds.assign(kind=SUPERCATEGORY, statistic=f"mean {score}"))
    columns = ["kind", "group", "statistic", "n_items", "mean", "ci_low", "ci_high", "n_rest", "difference"]
    columns += ["difference_ci_low", "difference_ci_high", "note"]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=columns)


SAMPLES = "content"
# So many leading dimensions have the items at their ends shown.
SHOWN = 2
_MADE = "content.json"
_NONE = (
    "no condition of this run shows single images and captions to a pair of models whose activations at these layers "
    "are in the store"
)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A condition and who looks at it."""

    experiment: Experiment
    condition: Condition
    sides: tuple[Side, Side]
    pairs: tuple[tuple[str, str], ...]


def write_run_content(bench: Bench, resolved: Resolved, workdir: Path) -> dict[str, Any]:
    """Write the tables of `vla.experiments.content` and the items they name, unless they are there already.

    Returns:
      What the report says of it: {} where the study asks for none; `status` "run" or "not run", `why`, `experiment`,
      `condition`, `pairs`, and `absent`, what the tables lack and how to have it.
    """
    plan = bench.study.content
    if plan.pairs == "none":
        remove_made(workdir / _MADE)  # what an earlier run with other settings looked into
        return {}
    asked = _asked(bench, resolved)
    if asked is None:
        remove_made(workdir / _MADE)
        return {"status": "not run", "why": _NONE}
    named = [tuple(_name(bench, side, given) for side, given in zip(asked.sides, pair, strict=True))
             for pair in asked.pairs]  # fmt: skip
    said = {"experiment": asked.experiment.id, "condition": asked.condition.name, "pairs": named}
    layers = [plan.vision_layer, plan.language_layer]
    said |= {"layers": layers} if set(layers) != {"penultimate"} else {}
    try:
        plan_of_data = bench.galleries[asked.condition.dataset].plan
        views, instances = _views(bench, asked), plan.instances or instances_beside(plan_of_data)
        absent = _absent(bench, asked, instances)
        key = _key(bench, asked, views, instances)
        if not unchanged(workdir / _MADE, key):
            _make(bench, asked, views, instances, workdir)
            made = [*(workdir / name for name in NAMES.values()), workdir / "samples" / f"{SAMPLES}.json"]
            write_record(workdir / _MADE, key, made)
    except ValueError as error:
        remove_made(workdir / _MADE)
        return {**said, "status": "not run", "why": str(error)}
    return {**said, "status": "run", "why": "", "absent": absent}


def _asked(bench: Bench, resolved: Resolved) -> _Asked | None:
    """What the plan names, or the first condition that fits it."""
    study = bench.study
    candidates = [
        (experiment, condition, study.sides(condition))
        for experiment in study.experiments
        if study.content.experiment in ("", experiment.id)
        for condition in experiment.conditions
        if study.content.condition in ("", condition.name) and resolved.usable(experiment, condition)
    ]
    single = [one for one in candidates if all(len(s.members) == 1 and LENGTH not in s.members for s in one[2])]
    plain = [one for one in single if all(s.members == ("original",) and not s.mismatched for s in one[2])]
    for experiment, condition, sides in (*plain, *(one for one in single if one not in plain)):
        gallery = bench.galleries[condition.dataset]
        views = [gallery.view(side.modality, side.members[0]) for side in sides]
        pairs = tuple(
            pair
            for pair in study.pairs(condition)
            if all(
                bench.participants[side.modality, given].has(view, study.content.layer(side.modality))
                for side, view, given in zip(sides, views, pair, strict=True)
            )
        )
        if pairs:
            return _Asked(experiment, condition, sides, pairs if study.content.pairs == "all" else pairs[:1])
    return None


def _name(bench: Bench, side: Side, given: str) -> str:
    return bench.participants[side.modality, given].name


def _views(bench: Bench, asked: _Asked) -> list[View]:
    gallery = bench.galleries[asked.condition.dataset]
    return [gallery.view(side.modality, side.members[0]) for side in asked.sides]


def _absent(bench: Bench, asked: _Asked, instances: str) -> list[str]:
    """What cannot be told of kinds of content, and how it could."""
    role = asked.condition.dataset
    lacking = []
    if not bench.study.content.norms:
        lacking.append(
            "Abstract against concrete captions: no norm is given. Fetch one, such as the ratings of Brysbaert, "
            "Warriner and Kuperman (2014), and add --config.content.norms=FILE"
        )
    if not instances:
        lacking.append(
            f"Kinds of things: the dataset {role} has no file of COCO's instances. Add --config.content.instances=FILE "
            "if there is one of its items"
        )
    return lacking


def _key(bench: Bench, asked: _Asked, views: Sequence[View], instances: str) -> str:
    """What determines the tables."""
    plan, participants = bench.study.content, bench.participants
    sources = [
        [
            participants[side.modality, given].key(view)
            for side, view, given in zip(asked.sides, views, pair, strict=True)
        ]
        for pair in asked.pairs
    ]
    files = [file_hash(Path(path).expanduser()) if path else "" for path in (plan.norms, instances)]
    settings = dataclasses.asdict(dataclasses.replace(plan, norms="", instances=""))
    ids = list(bench.items[asked.experiment.id, asked.condition.part])
    # What the tables call them, and say of the items, saved activations do not determine.
    names = [[_name(bench, side, given) for side, given in zip(asked.sides, pair, strict=True)] for pair in asked.pairs]
    names += [[bench.galleries[asked.condition.dataset].dataset.name, *(view.content for view in views)]]
    determined = [sources, files, settings, ids, repr(_settings(bench, asked, ids)), asked.condition.name, names]
    return canonical_hash(determined)


def _settings(bench: Bench, asked: _Asked, ids: Sequence[str]) -> RidgeSettings:
    """Those under which the study scores linear predictivity."""
    choices, known = bench.study.choices, {field.name for field in dataclasses.fields(RidgeSettings)} - {"seed"}
    given = {**choices.overrides, **bench.study.overrides}
    wanted = {name: value for name, value in given.items() if name in known}
    groups = groups_of(bench.galleries[asked.condition.dataset].dataset, ids) if choices.grouped else None
    if groups is not None and len(set(groups)) < len(groups):
        wanted["groups"] = tuple(groups)
    return ridge_settings(choices.protocol, bench.study.seed, **wanted)


def _settled(settings: RidgeSettings, x: xr.DataArray, y: xr.DataArray) -> RidgeSettings:
    """The settings with `groups="duplicates"` made into labels."""
    if settings.groups != DUPLICATES:
        return settings
    return dataclasses.replace(settings, groups=tuple(same_items(x.values, y.values).tolist()))


def _make(bench: Bench, asked: _Asked, views: Sequence[View], instances: str, workdir: Path) -> None:
    plan, gallery = bench.study.content, bench.galleries[asked.condition.dataset]
    ids = list(bench.items[asked.experiment.id, asked.condition.part])
    counted = gallery.view("language", plan.norms_view) if plan.norms else views[1]
    facts = item_facts(
        views[1], counted, instances=instances, norms=plan.norms, norms_word=plan.norms_word,
        norms_value=plan.norms_value,
    )  # fmt: skip
    settings = _settings(bench, asked, ids)
    made = dict.fromkeys(asked.pairs)
    parts: list[Content] = []
    for pair in made:
        x, y = (
            bench.participants[side.modality, given].read(view, plan.layer(side.modality)).sel(item=ids)
            for side, view, given in zip(asked.sides, views, pair, strict=True)
        )
        words = {
            "dataset": gallery.dataset.name,
            "vision_model": _name(bench, asked.sides[0], pair[0]),
            "language_model": _name(bench, asked.sides[1], pair[1]),
            "vision_layer": str(x["layer"].values[0]),
            "language_layer": str(y["layer"].values[0]),
        }
        for direction in DIRECTIONS:
            ordered = (x, y) if direction == "vision_to_language" else (y, x)
            found = content(
                *ordered, facts, settings=_settled(settings, x, y), n_directions=plan.n_directions,
                n_extreme=plan.n_extreme, score=plan.score,
            )  # fmt: skip
            tag = functools.partial(tagged, **{**words, "direction": direction})
            parts.append(Content(**{f.name: tag(getattr(found, f.name)) for f in dataclasses.fields(Content)}))
    write_content(parts, workdir)
    shown = _shown(parts, plan.n_extreme)
    kept = [_only(view, shown) for view in views]
    write_samples(workdir / "samples", SAMPLES, kept[:1], kept[1:], n=len(shown))


def _shown(parts: Sequence[Content], count: int) -> list[str]:
    """The items of which the report shows images: best and worst, and those at the ends of the leading dimensions."""
    ends = pd.concat([part.directions for part in parts], ignore_index=True)
    extreme = ends.loc[ends["rank"] <= SHOWN, "item"]
    items = pd.concat([part.items for part in parts], ignore_index=True)
    chosen = best_and_worst_on_average(items, count)["item"]
    return list(dict.fromkeys([*chosen, *extreme]))


def _only(view: View, ids: Sequence[str]) -> View:
    """A view of some of its items."""
    there = dict(zip(view.ids, view.stimuli, strict=True))
    return dataclasses.replace(
        view, ids=tuple(ids), stimuli=tuple(there[id] for id in ids), content=canonical_hash([view.content, list(ids)]),
        left_out=(),
    )  # fmt: skip
