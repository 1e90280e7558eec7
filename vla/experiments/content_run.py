"""Looks into the alignment of a study's own models from stored activations, for its run folder."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from vla.alignment.duplicates import DUPLICATES, same_items
from vla.alignment.held_out import ridge_settings
from vla.alignment.item_scores import best_and_worst_on_average
from vla.alignment.table import DIRECTIONS
from vla.experiments.content import NAMES, Content, content, tagged, write_content
from vla.experiments.experiment import Condition, Experiment
from vla.experiments.gallery import groups_of
from vla.experiments.item_facts import instances_beside, item_facts
from vla.experiments.resolve import Resolved
from vla.experiments.scoring import Bench
from vla.experiments.sides import LENGTH, Side
from vla.experiments.unchanged import remove_made, unchanged, write_record
from vla.metrics.ridge_settings import RidgeSettings
from vla.records import View, canonical_hash, file_hash
from vla.stimuli.samples import write_samples

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
