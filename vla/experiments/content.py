"""The content of an alignment: which dimensions of the map, which items and which categories of items carry it."""

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
from vla.experiments.gallery import Gallery, Resolved, groups_of
from vla.experiments.participants import Participant
from vla.experiments.scoring import Bench
from vla.experiments.study import SCORES, DatasetPlan
from vla.experiments.unchanged import remove_made, unchanged, write_record
from vla.files import file_hash, write_file
from vla.metrics.ridge_settings import RidgeSettings
from vla.records import View, canonical_hash
from vla.stimuli.datasets.coco import coco_categories, locate_coco
from vla.stimuli.samples import write_samples
from vla.stimuli.word_norms import VALUE, WORD, caption_norms, read_norms


@dataclasses.dataclass(frozen=True)
class ItemFacts:
    """Captions of the items, and what norms and annotations say of them.

    Attributes:
      captions: By item, as shown.
      concreteness: By item the mean norm of the words of its caption, NaN if no word has one; empty without norms.
      supercategories: By item the COCO supercategories of the things in its image; empty if unknown.
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
    """The facts of the items of a view, `shown` as language models read it.

    Args:
      shown: Captions as language models read them.
      counted: Captions whose words are looked up in the norms.
      instances: COCO's instances file; "" for none.
      norms: File of norms of words, with columns `norms_word` and `norms_value`; "" for none.

    Raises:
      ValueError: A file that cannot be read, or that has none of these items or words.
    """
    captions = {id: str(caption) for id, caption in zip(shown.ids, shown.stimuli, strict=True)}
    concreteness: dict[str, float] = {}
    if norms:
        ratings = read_norms(norms, norms_word, norms_value)
        means, _ = caption_norms([str(caption) for caption in counted.stimuli], ratings)
        concreteness = dict(zip(counted.ids, means, strict=True))
        if not np.isfinite(means).any():
            raise ValueError(f"{norms} has no word of the captions, such as {counted.stimuli[0]!r}")
    supercategories: dict[str, tuple[str, ...]] = {}
    if instances:
        known = coco_categories(instances)
        supercategories = {
            id: tuple(sorted({category.supercategory for category in known[id]})) for id in shown.ids if id in known
        }
        if not supercategories:
            raise ValueError(f"{instances} lists none of the items of {shown.name}, such as {shown.ids[0]!r}")
    return ItemFacts(captions, concreteness, supercategories)


def instances_file(plan: DatasetPlan) -> str:
    """The instances file in COCO's directory; "" for another dataset, or if the file is missing."""
    if plan.directory is None or not plan.name.startswith("coco"):
        return ""
    try:
        path = locate_coco(plan.directory).instances
    except ValueError:
        return ""
    return "" if path is None else str(path)


CONCRETENESS, SUPERCATEGORY = "concreteness", "supercategory"
LEVELS = ("abstract", "middle", "concrete")


@dataclasses.dataclass(frozen=True)
class Content:
    """The tables of one direction of one layer pair; `FILES` has their file names.

    Attributes:
      items: Per item: the scores of `vla.alignment.item_scores`, caption, concreteness, supercategories.
      spectrum: Per dimension of the map: see `vla.alignment.item_scores`; the effective dimension in every row.
      directions: The items at the ends of the leading dimensions.
      content: Per category of items: see `vla.alignment.item_scores`.
    """

    items: pd.DataFrame
    spectrum: pd.DataFrame
    directions: pd.DataFrame
    content: pd.DataFrame


FILES = {"items": "items.parquet", "spectrum": "spectrum.csv", "directions": "directions.csv", "content": "content.csv"}


def content(
    x: xr.DataArray | np.ndarray,
    y: xr.DataArray | np.ndarray,
    facts: ItemFacts,
    *,
    settings: RidgeSettings | None = None,
    n_directions: int = 5,
    n_extreme: int = 5,
    score: str = "correlation",
) -> Content:
    """Predict `y` from `x`, activations of one layer each of the same items, and analyse the map on held-out items.

    Args:
      x: The predictor; items named.
      y: The target.
      facts: Facts of the items.
      settings: As of `vla.alignment.item_scores.ridge_settings`, with the seed of the bootstrap; None for the paper's.
      n_directions: Number of leading dimensions whose extreme items are listed.
      n_extreme: Number of items at each end.
      score: The score of an item that is compared between categories: "correlation" or "match".

    Raises:
      ValueError: Several layers; an invalid setting; an item without a caption; or as `vla.alignment.item_scores`.
    """
    check_choice("score", score, SCORES)
    of_x, of_y = join(as_activations(x, "x"), as_activations(y, "y"))
    for role, array in (("x", of_x), ("y", of_y)):
        if array.sizes["layer"] != 1:
            raise ValueError(f"{role} has {array.sizes['layer']} layers: select one, such as x.isel(layer=[-2])")
    names = [str(name) for name in of_x["item"].values.tolist()]
    lacking = [name for name in names if name not in facts.captions]
    if lacking:
        raise ValueError(f"item {lacking[0]!r} and {len(lacking) - 1} others have no caption in the facts")
    settings = settings or ridge_settings()
    predictor, target = of_x.values[0], of_y.values[0]
    maps = list(fold_maps(predictor, target, settings))
    predictions = held_out(maps)
    items = _with_facts(item_scores(predictions, names), facts)
    scores = dict(zip(names, items[score], strict=True))
    return Content(
        items,
        _spectrum(maps),
        _extreme_items(predictor, target, predictions, settings, items, n_directions, n_extreme),
        _categories(scores, facts, score, settings.seed),
    )


def tagged(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    """The table with further columns first, such as vision_model and direction, each with one value."""
    return pd.concat([pd.DataFrame(values, index=table.index), table], axis=1)


def write_content(parts: Sequence[Content], folder: Path) -> list[Path]:
    """Write the tables of several model pairs and directions, one file per table; returns their paths."""
    paths = []
    for field, name in FILES.items():
        table = pd.concat([getattr(part, field) for part in parts], ignore_index=True)
        data = table.to_parquet(index=False) if name.endswith(".parquet") else table.to_csv(index=False)
        paths.append(write_file(folder / name, data))
    return paths


def _with_facts(items: pd.DataFrame, facts: ItemFacts) -> pd.DataFrame:
    names = items["item"].tolist()
    categories = [";".join(facts.supercategories[n]) if n in facts.supercategories else None for n in names]
    return items.assign(
        caption=[facts.captions[name] for name in names],
        concreteness=[float(facts.concreteness.get(name, np.nan)) for name in names],
        supercategories=pd.array(categories, dtype="string"),
    )


def _spectrum(maps: list[FoldMap]) -> pd.DataFrame:
    spectrum = map_spectrum(maps)
    dimension = effective_dimension(spectrum["shared_share"].to_numpy())
    of_target = float(np.mean([effective_dimension(_variances(fold)) for fold in maps]))
    return spectrum.assign(effective_dimension=dimension, target_dimension=of_target)


def _variances(fold: FoldMap) -> np.ndarray:
    """Variances of the held-out target along its principal directions."""
    centred = fold.actual - fold.actual.mean(axis=0)
    return np.linalg.svd(centred, compute_uv=False)[: len(fold.test) - 1] ** 2


def _extreme_items(
    x: np.ndarray,
    y: np.ndarray,
    predictions: HeldOut,
    settings: RidgeSettings,
    items: pd.DataFrame,
    n_directions: int,
    n_extreme: int,
) -> pd.DataFrame:
    """The items at both ends of every leading dimension, the most extreme first."""
    ends = extremes(x, y, predictions, settings, n_directions)
    rows = []
    for direction in range(ends.directions.shape[1]):
        order = np.argsort(ends.predicted[:, direction], kind="stable")
        for end, indices in (("high", order[::-1][:n_extreme]), ("low", order[:n_extreme])):
            for position, row in enumerate(indices, start=1):
                rows.append(
                    {
                        "rank": direction + 1,
                        "end": end,
                        "place": position,
                        "item": items["item"].iloc[row],
                        "predicted": ends.predicted[row, direction],
                        "actual": ends.actual[row, direction],
                        "caption": items["caption"].iloc[row],
                    }
                )
    return pd.DataFrame(rows)


def _categories(scores: dict[str, float], facts: ItemFacts, score: str, seed: int) -> pd.DataFrame:
    """One row per category of items, and one for the rank correlation with concreteness, whose `mean` is rho."""
    tables = []
    levels = {name: value for name, value in facts.concreteness.items() if name in scores and np.isfinite(value)}
    if len(levels) >= len(LEVELS):
        thirds = by_group(scores, by_level(levels, len(LEVELS), LEVELS), seed=seed)
        tables.append(thirds.assign(kind=CONCRETENESS, statistic=f"mean {score}"))
        rho = rank_correlation(scores, levels, seed=seed)
        row = {"group": "rank correlation", "mean": rho.pop("rho"), **rho, "statistic": "Spearman rho"}
        tables.append(pd.DataFrame([{**row, "kind": CONCRETENESS}]))
    if any(facts.supercategories.get(name) for name in scores):
        groups = by_group(scores, facts.supercategories, seed=seed)
        tables.append(groups.assign(kind=SUPERCATEGORY, statistic=f"mean {score}"))
    columns = ["kind", "group", "statistic", "n_items", "mean", "ci_low", "ci_high", "n_rest", "difference"]
    columns += ["difference_ci_low", "difference_ci_high", "note"]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=columns)


SAMPLES = "content"
# Number of leading dimensions whose extreme items are shown as images.
SHOWN = 2
_RECORD = "content.json"
_NONE = (
    "no condition of this run shows single images and captions to a pair of models whose activations at these layers "
    "are in the store"
)


@dataclasses.dataclass(frozen=True)
class _Analysis:
    """The condition that is analysed, with its models."""

    experiment: Experiment
    condition: Condition
    sides: tuple[Side, Side]
    pairs: tuple[tuple[str, str], ...]
    bench: Bench

    @property
    def gallery(self) -> Gallery:
        return self.bench.galleries[self.condition.dataset]

    @property
    def views(self) -> list[View]:
        return [self.gallery.view(side.modality, side.members[0]) for side in self.sides]

    @property
    def ids(self) -> list[str]:
        return list(self.bench.items[self.experiment.id, self.condition.part])

    def models(self, pair: tuple[str, str]) -> list[Participant]:
        return [self.bench.participants[side.modality, model] for side, model in zip(self.sides, pair, strict=True)]

    @property
    def settings(self) -> RidgeSettings:
        """The settings with which the study scores linear predictivity."""
        study = self.bench.study
        known = {field.name for field in dataclasses.fields(RidgeSettings)} - {"seed"}
        values = {**study.choices.overrides, **study.overrides}
        values = {name: value for name, value in values.items() if name in known}
        groups = groups_of(self.gallery.dataset, self.ids) if study.choices.grouped else None
        if groups is not None and len(set(groups)) < len(groups):
            values["groups"] = tuple(groups)
        return ridge_settings(study.choices.protocol, study.seed, **values)


def write_run_content(bench: Bench, resolved: Resolved, workdir: Path) -> dict[str, Any]:
    """Write the tables of `Content` and samples of the items that they name, unless these exist already.

    Returns:
      What the report shows: {} if the study asks for no analysis; otherwise `status` "run" or "not run", `why`,
      `experiment`, `condition`, `pairs`, and `absent`: the missing tables with their remedies.
    """
    plan = bench.study.content
    if plan.pairs == "none":
        remove_made(workdir / _RECORD)  # of an earlier run with other settings
        return {}
    analysis = _analysis(bench, resolved)
    if analysis is None:
        remove_made(workdir / _RECORD)
        return {"status": "not run", "why": _NONE}
    names = [tuple(model.name for model in analysis.models(pair)) for pair in analysis.pairs]
    description = {"experiment": analysis.experiment.id, "condition": analysis.condition.name, "pairs": names}
    layers = [plan.vision_layer, plan.language_layer]
    description |= {"layers": layers} if set(layers) != {"penultimate"} else {}
    try:
        instances = plan.instances or instances_file(analysis.gallery.plan)
        absent = _absent(analysis, instances)
        key = _key(analysis, instances)
        if not unchanged(workdir / _RECORD, key):
            _make(analysis, instances, workdir)
            made = [*(workdir / name for name in FILES.values()), workdir / "samples" / f"{SAMPLES}.json"]
            write_record(workdir / _RECORD, key, made)
    except ValueError as error:
        remove_made(workdir / _RECORD)
        return {**description, "status": "not run", "why": str(error)}
    return {**description, "status": "run", "why": "", "absent": absent}


def _analysis(bench: Bench, resolved: Resolved) -> _Analysis | None:
    """The condition of the plan, or the first suitable one: preferably with original images and captions."""
    study = bench.study
    candidates = [
        _Analysis(experiment, condition, study.sides(condition), (), bench)
        for experiment in study.experiments
        if study.content.experiment in ("", experiment.id)
        for condition in experiment.conditions
        if study.content.condition in ("", condition.name) and resolved.usable(experiment, condition)
    ]
    single = [each for each in candidates if all(len(s.members) == 1 and LENGTH not in s.members for s in each.sides)]
    plain = [each for each in single if all(str(s.members[0]) == "original" and not s.mismatched for s in each.sides)]
    for candidate in (*plain, *(each for each in single if each not in plain)):
        pairs = tuple(
            pair
            for pair in study.pairs(candidate.condition)
            if all(
                model.has(view, study.content.layer(view.modality))
                for view, model in zip(candidate.views, candidate.models(pair), strict=True)
            )
        )
        if pairs:
            return dataclasses.replace(candidate, pairs=pairs if study.content.pairs == "all" else pairs[:1])
    return None


def _absent(analysis: _Analysis, instances: str) -> list[str]:
    """The categories that cannot be compared, with the remedy."""
    sentences = []
    if not analysis.bench.study.content.norms:
        sentences.append(
            "Abstract against concrete captions: no file of norms is set. Download one, such as the ratings of "
            "Brysbaert, Warriner and Kuperman (2014), and add --config.content.norms=FILE"
        )
    if not instances:
        sentences.append(
            f"Categories of things: the dataset {analysis.condition.dataset} has no COCO instances file. Add "
            "--config.content.instances=FILE if such a file has its items"
        )
    return sentences


def _key(analysis: _Analysis, instances: str) -> str:
    """What determines the tables."""
    plan, views = analysis.bench.study.content, analysis.views
    sources = [
        [model.key(view) for view, model in zip(views, analysis.models(pair), strict=True)] for pair in analysis.pairs
    ]
    files = [file_hash(Path(path).expanduser()) if path else "" for path in (plan.norms, instances)]
    settings = dataclasses.asdict(dataclasses.replace(plan, norms="", instances=""))
    # Names of models and content of views, which the keys of saved activations do not determine.
    names = [[model.name for model in analysis.models(pair)] for pair in analysis.pairs]
    names += [[analysis.gallery.dataset.name, *(view.content for view in views)]]
    ridge = repr(analysis.settings)
    return canonical_hash([sources, files, settings, analysis.ids, ridge, analysis.condition.name, names])


def _with_labels(settings: RidgeSettings, x: xr.DataArray, y: xr.DataArray) -> RidgeSettings:
    """The settings with `groups="duplicates"` replaced by labels."""
    if settings.groups != DUPLICATES:
        return settings
    return dataclasses.replace(settings, groups=tuple(same_items(x.values, y.values).tolist()))


def _make(analysis: _Analysis, instances: str, workdir: Path) -> None:
    plan, gallery, views = analysis.bench.study.content, analysis.gallery, analysis.views
    counted = gallery.view("language", plan.norms_view) if plan.norms else views[1]
    facts = item_facts(
        views[1], counted, instances=instances, norms=plan.norms, norms_word=plan.norms_word,
        norms_value=plan.norms_value,
    )  # fmt: skip
    parts: list[Content] = []
    for pair in dict.fromkeys(analysis.pairs):
        vision, language = analysis.models(pair)
        x, y = (
            model.read(view, plan.layer(view.modality)).sel(item=analysis.ids)
            for view, model in zip(views, (vision, language), strict=True)
        )
        values = {
            "dataset": gallery.dataset.name,
            "vision_model": vision.name,
            "language_model": language.name,
            "vision_layer": str(x["layer"].values[0]),
            "language_layer": str(y["layer"].values[0]),
        }
        for direction in DIRECTIONS:
            predictor, target = (x, y) if direction == "vision_to_language" else (y, x)
            result = content(
                predictor, target, facts, settings=_with_labels(analysis.settings, x, y),
                n_directions=plan.n_directions, n_extreme=plan.n_extreme, score=plan.score,
            )  # fmt: skip
            tag = functools.partial(tagged, **values, direction=direction)
            parts.append(Content(**{f.name: tag(getattr(result, f.name)) for f in dataclasses.fields(Content)}))
    write_content(parts, workdir)
    ids = _sample(parts, plan.n_extreme)
    images, captions = (_only(view, ids) for view in views)
    write_samples(workdir / "samples", SAMPLES, [images], [captions], n=len(ids))


def _sample(parts: Sequence[Content], count: int) -> list[str]:
    """The items whose images the report shows: best and worst, and those at the ends of the leading dimensions."""
    ends = pd.concat([part.directions for part in parts], ignore_index=True)
    extreme = ends.loc[ends["rank"] <= SHOWN, "item"]
    items = pd.concat([part.items for part in parts], ignore_index=True)
    return list(dict.fromkeys([*best_and_worst_on_average(items, count)["item"], *extreme]))


def _only(view: View, ids: Sequence[str]) -> View:
    """The view with these items only."""
    stimuli = dict(zip(view.ids, view.stimuli, strict=True))
    content = canonical_hash([view.content, list(ids)])
    return dataclasses.replace(
        view, ids=tuple(ids), stimuli=tuple(stimuli[id] for id in ids), content=content, left_out=()
    )
