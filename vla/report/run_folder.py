"""Reads a run folder: its tables, with those that older versions did not write."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vla.alignment.table import COLUMNS, OF_MAP, OF_PAIRS, REQUIRED
from vla.experiments.experiment import over_models
from vla.experiments.names import base_name
from vla.experiments.results import PEAKS, PLATEAUS, PROFILES, SUMMARY, depths, plateaus, summary
from vla.metrics.registry import sign

SHUFFLED = "shuffled"
LENGTH = "length only"
CELL = ["condition", "vision_model", "language_model", "metric", "direction"]


@dataclasses.dataclass(frozen=True)
class Group:
    """Conditions that are compared with one another.

    Attributes:
      name: Part of file names, such as "images".
      conditions: Names of conditions; the first is the reference.
      comparisons: Names of the comparisons.
    """

    name: str
    conditions: tuple[str, ...]
    comparisons: tuple[str, ...]


def groups(experiment: Mapping[str, Any]) -> list[Group]:
    """Comparisons of an experiment by part of its conditions, without those along a curve."""
    specs = {condition["name"]: condition for condition in experiment.get("conditions", ())}
    by_reference: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for comparison in experiment.get("comparisons", ()):
        high, low = (specs.get(comparison[side], {}) for side in ("higher", "lower"))
        if high.get("series"):
            continue
        changed = "images" if high.get("image") != low.get("image") else "captions"
        by_reference.setdefault((comparison["higher"], high.get("part") or changed), []).append(comparison)
    return [
        Group(
            part,
            (reference, *dict.fromkeys(comparison["lower"] for comparison in compared)),
            tuple(comparison["name"] for comparison in compared),
        )
        for (reference, part), compared in by_reference.items()
    ]


def layer_maps(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of the conditions, model pairs and metrics with several layer pairs."""
    if scores.empty:
        return scores
    return scores.loc[scores.groupby(CELL, sort=False)["score"].transform("size") > 1]


def curve_groups(curves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of curves by what is averaged: "captions", "images", or "curves" if the series name has neither word."""
    if curves.empty:
        return {}
    names = curves["series"].astype(str)
    words = names.map(lambda name: next((word for word in ("captions", "images") if word in name), "curves"))
    return {str(word): rows for word, rows in curves.groupby(words, sort=False)}


def counts_items(curves: pd.DataFrame) -> bool:
    """Whether the counts of curves are numbers of items."""
    return set(curves["series"].astype(str)) == {"items"}


def along_training(experiment: Mapping[str, Any]) -> bool:
    """Whether an experiment follows models along their training, so that the points of a curve are different models."""
    names = ("series", "vision_group", "language_group")
    return over_models(
        tuple(each.get(name) for name in names) for each in experiment.get("conditions", ()) if each.get("series")
    )


_EMPTY = {
    "scores": REQUIRED,
    "curves": tuple("experiment series k vision_model language_model metric direction score".split()),
    "statistics": tuple("experiment comparison higher lower metric direction n_pairs t df p q".split()),
}
_WORDS = ("note", "verdict", "paper_p", "paper_q", "paper_source", "crossed_note", "part", "family")
_NUMBERS = tuple(
    "n_pairs mean_higher mean_lower mean_difference ci_low ci_high t df p q effect_size crossed_t crossed_df crossed_p "
    "crossed_ci_low crossed_ci_high paper_t".split()
)
# Columns of text: an item can be called 007, a model 1000, a condition None, and the paper prints .0220.
_TEXTS = frozenset((
    *_WORDS, *"experiment comparison higher lower metric direction series condition dataset side vision_model".split(),
    *"language_model kind group statistic end item caption paper_sign paper_significant".split(),
    *"best_vision_layer best_language_layer".split(),
))  # fmt: skip
# Optional tables by file name, with the columns that the page shows.
_MAP = ("vision_model", "language_model", "direction")
EXTRAS = {
    "items.parquet": (*_MAP, "item", "correlation", "caption"),
    "spectrum.csv": (*_MAP, *"rank r effective_dimension target_dimension cumulative_explained".split()),
    "directions.csv": (*_MAP, "rank", "end", "place", "item", "predicted", "caption"),
    "content.csv": (
        *_MAP,
        *"kind group statistic n_items mean ci_low ci_high".split(),
        *"difference difference_ci_low difference_ci_high note".split(),
    ),
}


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run.

    Attributes:
      path: The folder.
      run: The content of `run.json`.
      scores: Tidy scores, averaged over fold seeds; `null_mean` is the mean with items shuffled.
      statistics: One row per comparison, metric and direction.
      curves: Scores by count.
      samples: Sample items by the name of their file.
      activations: The model, views and groups of the store of each `vision_key` or `language_key`.
      extras: Optional tables by file name.
      missing: Names of missing files.
    """

    path: Path
    run: dict[str, Any]
    scores: pd.DataFrame
    statistics: pd.DataFrame
    curves: pd.DataFrame
    samples: dict[str, dict[str, Any]]
    activations: dict[str, Any]
    extras: dict[str, pd.DataFrame]
    missing: tuple[str, ...]

    @property
    def experiments(self) -> list[dict[str, Any]]:
        """The experiments in the order of the run."""
        return self.run["experiments"]

    @functools.cached_property
    def plateaus(self) -> pd.DataFrame:
        """`plateaus.csv`, computed if missing."""
        trained = [str(each["id"]) for each in self.run.get("experiments", ()) if along_training(each)]
        return self._derived("plateaus.csv", PLATEAUS, lambda: plateaus(self.curves, trained))

    @functools.cached_property
    def profiles(self) -> pd.DataFrame:
        """`depth.csv`, computed if missing."""
        return self._derived("depth.csv", PROFILES, lambda: self._depths[0])

    @functools.cached_property
    def peaks(self) -> pd.DataFrame:
        """`peaks.csv`, computed if missing."""
        return self._derived("peaks.csv", PEAKS, lambda: self._depths[1])

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """`summary.csv`, computed if missing."""
        return self._derived("summary.csv", SUMMARY, lambda: summary(self.scores))

    @functools.cached_property
    def _depths(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return depths(self.scores)

    def _derived(self, name: str, columns: tuple[str, ...], build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A table that follows from others; runs of older versions lack it."""
        path = self.path / name
        return _table(path, columns) if path.is_file() else build()

    def of(self, table: str, experiment: str) -> pd.DataFrame:
        """The rows of an experiment in a table, such as "scores", "statistics" or "summary"."""
        frame = getattr(self, table)
        return frame.loc[frame["experiment"] == experiment]


def read(folder: Path) -> RunFolder:
    """Read a run folder; a ValueError if `run.json` is missing, or a file is damaged or lacks columns."""
    path = folder / "run.json"
    if not path.is_file():
        raise ValueError(
            f"{folder} has no run.json: run `python -m launch.reproduce --workdir={folder}` first, or set --workdir to "
            "the folder of a run"
        )
    run = {"title": "", "note": "", "commands": {}, "settings": {}, "models": [], "datasets": [], "versions": {}}
    run |= {"times": {}, **_json(path)}
    if not run.get("experiments"):
        raise ValueError(f"{path} has no experiments: run `python -m launch.reproduce` again")
    tables, missing = {}, []
    for name, suffix in (("scores", ".parquet"), ("statistics", ".csv"), ("curves", ".csv")):
        path = folder / f"{name}{suffix}"
        tables[name] = _table(path, _EMPTY[name])
        if not path.is_file():
            missing.append(path.name)
    samples = {path.stem: _json(path) for path in sorted((folder / "samples").glob("[!.]*.json"))}
    stored = folder / "activations.json"
    activations = _json(stored) if stored.is_file() else {}
    extras = {name: _table(folder / name, EXTRAS[name]) for name in EXTRAS if (folder / name).is_file()}
    tables["scores"] = over_seeds(_filled(tables["scores"]))
    tables["curves"] = over_seeds(tables["curves"])
    tables["statistics"] = _typed(tables["statistics"])
    return RunFolder(
        folder, run, **tables, samples=samples, activations=activations, extras=extras, missing=tuple(missing)
    )


def _filled(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores with empty columns for those that older versions did not write."""
    absent = [column for column in COLUMNS if column.name not in scores]
    return scores.assign(**{column.name: "" if column.dtype == "text" else float("nan") for column in absent})


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """The mean of rows that differ only in the seed of the folds.

    If a seed also draws the items, the keys of activations are those of the first row.
    """
    if "null_mean" not in frame:
        frame = frame.assign(null_mean=float("nan"))
    if "seed" not in frame or frame["seed"].nunique() < 2:
        return frame
    values = [name for name in (*OF_PAIRS, *OF_MAP) if name in frame]
    keys = [name for name in ("vision_key", "language_key") if name in frame]
    same = [name for name in frame if name not in (*values, *keys, "seed")]
    how = {**dict.fromkeys(values, "mean"), **dict.fromkeys(keys, "first")}
    return frame.groupby(same, sort=False, dropna=False, as_index=False).agg(how)


def _typed(statistics: pd.DataFrame) -> pd.DataFrame:
    """Statistics with all columns: text, "" if missing, and numbers, NaN if missing."""
    frame = statistics.copy()
    for name in _WORDS:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str) if name in frame else ""
    for name in _NUMBERS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce") if name in frame else float("nan")
    return frame


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}): run `python -m launch.reproduce` again") from error


def _csv(path: Path) -> pd.DataFrame:
    """A table with columns of text as they are, and numbers with NaN for empty cells."""
    names = pd.read_csv(path, nrows=0).columns
    numbers = {str(name): [""] for name in names if name not in _TEXTS}
    texts = {str(name): str for name in names if name in _TEXTS}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=numbers)


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except Exception as error:  # readers of damaged files raise all sorts of errors
        raise ValueError(f"{path} is damaged ({error}): run `python -m launch.reproduce` again") from error
    missing = sorted(set(columns) - set(frame))
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}: it is from another version; run again")
    return frame


def growth(run: RunFolder, experiment: Mapping[str, Any]) -> pd.DataFrame:
    """The best pair of layers of every pair of models, beside the size or the loss of the language model.

    `experiment` is one of `run.experiments`, with "parameters" or "loss" as `against`. The columns are those of
    `vla.report.figures.training.draw_growth`, rows by growing language models. Pairs without a score and models of
    unknown size or loss are left out.
    """
    keys = ["metric", "direction", "vision_model", "language_model"]
    scores = run.of("scores", str(experiment["id"])).dropna(subset="score")
    ordered = scores.assign(order=scores["score"] * scores["metric"].map(sign))
    best = ordered.loc[ordered.groupby(keys, sort=False)["order"].idxmax(), [*keys, "score"]]
    models = {str(model["name"]): model for model in run.run["models"] if model["modality"] == "language"}
    values = {name: _growth(name, models, str(experiment["against"])) for name in models}
    rows = best.assign(growth=best["language_model"].map(values).astype(float)).dropna(subset="growth")
    return rows.sort_values("growth", ascending=experiment["against"] != "loss", kind="stable", ignore_index=True)


def _growth(name: str, models: Mapping[str, Mapping[str, Any]], against: str) -> float:
    """Parameters of a model, or its loss; for a checkpoint, the loss of its model at its step."""
    model = models[name]
    if against != "loss":
        return float(model.get(against) or "nan")
    losses = model.get("losses") or models.get(base_name(name), {}).get("losses")
    if not losses:
        return float("nan")
    _, _, step = name.partition("@")
    by_step = dict(zip(losses["steps"], losses["loss"], strict=True))
    return float(by_step.get(int(step), "nan") if step.isdigit() else losses["loss"][-1])
