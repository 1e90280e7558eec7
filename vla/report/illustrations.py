"""The figures and tables of an experiment, with captions, descriptions for screen readers and sources."""

import dataclasses
import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vla.experiments.names import base_name
from vla.experiments.results import scalars
from vla.metrics.registry import best_index
from vla.report import run_folder
from vla.report.figures import conditions, curves, layer_maps, training
from vla.report.figures.curves import Mark
from vla.report.figures.style import PAIR, direction_words, metric_words, spoken
from vla.report.run_folder import RunFolder, growth
from vla.report.words import number, table


def plateau_marks(plateaus: pd.DataFrame) -> dict[tuple[str, str], Mark]:
    """The counts at which curves flatten, by (series, direction), from rows of `plateaus.csv` of one metric.

    Shuffled and falling series and those that do not flatten are left out. The upper end can be infinite.
    """
    return {
        (str(row["series"]), str(row["direction"])): (row["k"], row["k_low"], row["k_high"])
        for row in plateaus.to_dict("records")
        if "shuffled" not in str(row["series"]) and np.isfinite(row["k"]) and row["gain"] > 0
    }


def peak_marks(peaks: pd.DataFrame) -> dict[tuple[str, str], Mark]:
    """The depths at which mean profiles are highest, by (direction, side), from rows of one condition and metric."""
    return {
        (str(row["direction"]), str(row["side"])): (row["depth"], row["depth_low"], row["depth_high"])
        for row in peaks.to_dict("records")
    }


def plateau_table(plateaus: pd.DataFrame) -> dict[str, Any] | None:
    """The table of the curves of an experiment; None without curves."""
    if plateaus.empty:
        return None
    rows = [
        {
            "Curve": f"{spoken(str(row['series']))}, to {row['most']:g}",
            **_measured(row),
            "Pairs": f"{row['n_pairs']:g}",
            "95 % of the gain at": _count(row["k"], row) + _ends(row, "k", lambda end, row=row: _count(end, row)),
            "Height of the plateau": number(row["level"]) + _ends(row, "level"),
            "Gain over one": number(row["gain"], sign=True) + _ends(row, "gain", lambda end: number(end, sign=True)),
            "Note": note(row),
        }
        for row in plateaus.to_dict("records")
    ]
    caption = (
        "Where the mean curve over model pairs flattens, by a fitted saturating exponential; brackets: 95 % intervals "
        "over vision and language models as crossed factors, which need at least two models on each side."
    )
    return {"title": "Where averaging flattens", **table(caption, pd.DataFrame(rows))}


def peak_table(peaks: pd.DataFrame) -> dict[str, Any] | None:
    """The table of the layer maps of an experiment; None without maps."""
    if peaks.empty:
        return None
    rows = [
        {
            "Condition": str(row["condition"]),
            **_measured(row),
            "Depth of": f"the {row['side']} model",
            "Pairs": f"{row['n_pairs']:g}",
            "Peak at": number(row["depth"], 2) + _ends(row, "depth", lambda end: number(end, 2)),
            "Score there": number(row["score"]) + _ends(row, "score"),
            "Rise from depth 0": number(row["rise"], sign=True),
            "Note": note(row),
        }
        for row in peaks.to_dict("records")
    ]
    caption = (
        "Where the mean depth profile over model pairs peaks: 0 is the embedding, 1 the last block; brackets: 95 % "
        "intervals over vision and language models as crossed factors, which need at least two models on each side. "
        "All depths are in depth.csv."
    )
    return {"title": "Where in depth alignment peaks", **table(caption, pd.DataFrame(rows))}


def best_table(summary: pd.DataFrame) -> dict[str, Any] | None:
    """The table of the best pair of layers of every layer map, from rows of `summary.csv`; None without maps."""
    maps = summary.loc[pd.to_numeric(summary["layer_pairs"]) > 1]
    if maps.empty:
        return None
    several = maps["seed"].nunique() > 1
    rows = [
        {
            "Condition": str(row["condition"]),
            "Vision model": str(row["vision_model"]),
            "Language model": str(row["language_model"]),
            **_measured(row),
            **({"Seed": str(row["seed"])} if several else {}),
            "Best": number(row["best"]) + _ends(row, "best_ci"),
            "Vision layer": spoken(str(row["best_vision_layer"])),
            "Language layer": spoken(str(row["best_language_layer"])),
            "Mean of all pairs": number(row["mean"]),
            "Shuffled": number(row["null_mean"]),
            "Reliability": number(row["reliability"], 2),
        }
        for row in maps.to_dict("records")
    ]
    caption = (
        "The best pair of layers of every map with its 95 % interval over items in brackets, the mean over all "
        "pairs, and the mean with items shuffled. Reliability: the correlation of the map with itself on other items. "
        "The best of many pairs is higher than a pair chosen beforehand; best_p_max in summary.csv corrects for that."
    )
    return {"title": "Best pairs of layers", **table(caption, pd.DataFrame(rows))}


def _measured(row: Mapping[str, Any]) -> dict[str, str]:
    return {"Metric": metric_words(str(row["metric"])), "Direction": direction_words(row["direction"])}


def _count(value: float, row: Mapping[str, Any]) -> str:
    return f"beyond {row['most']:g}" if math.isinf(value) else number(value, 1)


def _ends(row: Mapping[str, Any], name: str, text: Callable[[float], str] = number) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if math.isnan(low) or math.isnan(high) else f" [{text(low)}, {text(high)}]"


def note(row: Mapping[str, Any]) -> str:
    """The note of a row; "" if it is missing."""
    return row["note"] if isinstance(row["note"], str) else ""


# File names have at most 255 bytes; suffixes need a part of them.
_LONGEST = 200
# From this number of vision models on, a figure shows averaging by model.
_MANY_BACKBONES = 5


@dataclasses.dataclass(frozen=True)
class Illustration:
    """A figure that can be drawn.

    Attributes:
      name: Name of its files.
      caption: What it shows and how to read it.
      alt: Its content with numbers, for screen readers.
      draw: A function that draws it.
      rows: The rows of a table of the run that it shows.
      source: File name of the table.
      of_paper: Whether the paper has such a figure.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[], Figure]
    rows: pd.DataFrame
    source: str
    of_paper: bool = True


def illustrations(run: RunFolder, experiment: Mapping[str, Any]) -> Iterator[Illustration]:
    """The figures of an experiment, in the order of the panels of the paper."""
    id = str(experiment["id"])
    scores, counted = run.of("scores", id), run.of("curves", id)
    # The figure along training shows the layers at every step; and maps are drawn once, with the first experiment.
    if not run_folder.along_training(experiment) and not _maps_drawn_before(run, id):
        yield from _maps(id, run_folder.layer_maps(scores), run.of("peaks", id))
    yield from _conditions(run, experiment, scalars(scores))
    if experiment.get("against"):
        yield from _growth(run, experiment)
    for metric, rows in counted.groupby("metric", sort=False):
        yield from _counted(run, experiment, str(metric), rows)


def _maps_drawn_before(run: RunFolder, id: str) -> bool:
    """Whether an earlier experiment of the run has all layer maps of this one, with the same scores."""

    def maps(experiment: str) -> set[tuple[Any, ...]]:
        rows = run_folder.layer_maps(run.of("scores", experiment)).dropna(subset="score")
        return set(
            rows[[*run_folder.CELL, "vision_layer", "language_layer", "score"]].itertuples(index=False, name=None)
        )

    shown = maps(id)
    earlier = itertools.takewhile(lambda each: str(each["id"]) != id, run.run.get("experiments", ()))
    drawn = (str(each["id"]) for each in earlier if not run_folder.along_training(each))
    return bool(shown) and any(shown <= maps(other) for other in drawn)


def _maps(id: str, scores: pd.DataFrame, peaks: pd.DataFrame) -> Iterator[Illustration]:
    for (metric, condition), rows in scores.groupby(["metric", "condition"], sort=False):
        for model, of_model in rows.groupby("vision_model", sort=False):
            yield Illustration(
                file_name(id, "maps", condition, metric, model),
                f"Alignment of every layer of {model} (upwards from the input) with every layer of each language "
                "model (to the right), one row per direction. Brighter means better aligned; the ring marks the best "
                "pair" + ", the line on the colour scale the mean with items shuffled" * _has_null(of_model) + ". "
                "Hatched cells have no score: that layer is the same for every item.",
                _best(of_model),
                lambda rows=of_model: layer_maps.draw(rows),
                of_model,
                "scores.parquet",
            )
        profiles = layer_maps.profiles_of(rows).assign(experiment=id)
        marks = peak_marks(peaks.loc[(peaks["metric"] == metric) & (peaks["condition"] == condition)])
        yield Illustration(
            file_name(id, "depth", condition, metric),
            "Alignment by depth: the best score of each layer over all layers of the other model, averaged over the "
            "models of the other side. The dashed line is the depth of the peak, the band its 95 % interval over model "
            "pairs. The final norm, which lies beyond depth 1, is not shown.",
            "Peaks: "
            + "; ".join(
                f"{direction_words(direction)}, {side} at {peak:.2f} of the depth"
                for (direction, side), (peak, _, _) in marks.items()
            )
            + ".",
            lambda profiles=profiles, marks=marks: layer_maps.draw_depth(profiles, marks),
            profiles,
            "scores.parquet",
            of_paper=False,
        )


def _growth(run: RunFolder, experiment: Mapping[str, Any]) -> Iterator[Illustration]:
    against = str(experiment["against"])
    for metric, rows in growth(run, experiment).groupby("metric", sort=False):
        yield Illustration(
            file_name(str(experiment["id"]), against, metric),
            f"The best pair of layers of every pair of models, against the {training.GROWTH_AXES[against][0]}. One "
            "line per vision model, one mark per language model.",
            f"Best pairs of layers by {metric_words(str(metric))}. "
            + "; ".join(
                f"{row['vision_model']} with {row['language_model']}: {row['score']:.3f}"
                for row in rows.to_dict("records")
            )
            + ".",
            lambda rows=rows: training.draw_growth(rows, against),
            rows,
            "scores.parquet",
        )


def _conditions(run: RunFolder, experiment: Mapping[str, Any], scores: pd.DataFrame) -> Iterator[Illustration]:
    statistics = run.of("statistics", str(experiment["id"]))
    for group in run_folder.groups(experiment):
        of_group = scores.loc[scores["condition"].isin(group.conditions)]
        for metric, rows in of_group.groupby("metric", sort=False):
            ordered = rows.set_index("condition").loc[[c for c in group.conditions if c in set(rows["condition"])]]
            tested = statistics.loc[statistics["comparison"].isin(group.comparisons) & (statistics["metric"] == metric)]
            shown = ordered.reset_index()
            if shown["condition"].nunique() < 2:
                continue  # nothing to compare
            length = scores.loc[(scores["condition"] == run_folder.LENGTH) & (scores["metric"] == metric)]
            beside = length if "captions" in group.name or "caption" in group.name else None
            yield Illustration(
                file_name(str(experiment["id"]), group.name, metric),
                f"Each thin line is one pair of models, a dot its score under a condition; wide marks are means over "
                f"pairs, bars their standard errors. Marks above: paired t against {spoken(group.conditions[0])}, "
                "false discovery rate controlled (*** q < .001, ** q < .01, * q < .05, n.s. not significant)."
                + " Dashed: the score with items shuffled." * _has_null(shown)
                + " Dotted: the score of the length of captions alone." * (beside is not None and not beside.empty),
                _means(shown, "condition"),
                lambda shown=shown, tested=tested, beside=beside: conditions.draw(_paired(shown), tested, beside),
                shown,
                "scores.parquet",
            )


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with checkpoints renamed to their model, if a condition has at most one checkpoint per model."""
    renamed = rows.assign(**{name: rows[name].map(base_name) for name in PAIR})
    return rows if renamed.duplicated(["condition", "direction", *PAIR]).any() else renamed


def _counted(run: RunFolder, experiment: Mapping[str, Any], metric: str, rows: pd.DataFrame) -> Iterator[Illustration]:
    id = str(experiment["id"])
    if run_folder.along_training(experiment):
        yield Illustration(
            file_name(id, "training", metric),
            "Above: every layer of the predicted model (upwards) at each saved step of training (to the right), its "
            "best score over the layers of the other model, averaged over model pairs; white without a score. Below: "
            "the best layer of every model pair (thin) and their mean (thick).",
            _means(rows.loc[rows["k"].isin([rows["k"].min(), rows["k"].max()])], "k", "step"),
            lambda: training.draw(rows),
            rows,
            "curves.csv",
        )
    elif run_folder.counts_items(rows):
        yield Illustration(
            file_name(id, "items", metric),
            "Score against the number of items, with the 95 % interval over vision and language models as crossed "
            "factors, with at least two of each"
            + ", and the same with items shuffled (grey)" * _has_null(rows)
            + ". Scores with different numbers of items are not comparable.",
            _means(rows, "k", "items"),
            lambda: curves.draw(_with_null(rows), "number of items", logarithmic=True),
            rows,
            "curves.csv",
        )
    else:
        if rows["vision_model"].nunique() >= _MANY_BACKBONES:
            yield Illustration(
                file_name(id, "backbones", metric),
                "Gain of averaging by vision model: hollow marks are one exemplar, filled marks the average of the "
                "most, small dots the language models.",
                _means(rows.loc[rows["k"] == rows.groupby("series")["k"].transform("max")], "vision_model"),
                lambda: curves.draw_gains(rows),
                rows,
                "curves.csv",
            )
        for word, of_word in run_folder.curve_groups(rows).items():
            shown = _with_matched(run, of_word, word, experiment.get("beside", ()))
            flat = run.of("plateaus", id)
            marks = plateau_marks(flat.loc[(flat["metric"] == metric) & flat["series"].isin(of_word["series"])])
            yield Illustration(
                file_name(id, word, metric),
                f"Score against the number of {word} whose embeddings are averaged: mean over model pairs with its "
                "95 % interval over vision and language models as crossed factors, with at least two of each; "
                "thin lines are the pairs."
                + " The triangle marks where the fitted curve has 95 % of its gain, the bar the 95 % interval of that "
                "number." * bool(marks),
                _means(shown.loc[shown["k"].isin([shown["k"].min(), shown["k"].max()])], "k", word)
                + _flat(marks),
                lambda shown=shown, word=word, marks=marks: curves.draw(shown, f"{word} averaged", marks),
                shown,
                "curves.csv",
            )  # fmt: skip


def _has_null(rows: pd.DataFrame) -> bool:
    return bool(rows["null_mean"].notna().any())


def _with_null(rows: pd.DataFrame) -> pd.DataFrame:
    """Curves with their baselines of shuffled items as further series."""
    null = rows.loc[rows["null_mean"].notna()]
    null = null.assign(score=null["null_mean"], series=null["series"].astype(str) + ", shuffled")
    return pd.concat([rows, null], ignore_index=True)


def _with_matched(run: RunFolder, rows: pd.DataFrame, word: str, beside: Sequence[str]) -> pd.DataFrame:
    """Shuffled curves, together with the curves that are not shuffled of the experiments in `beside`."""
    if not rows["series"].str.contains(run_folder.SHUFFLED).all():
        return rows
    matched = run.curves.loc[(run.curves["series"] == word) & (run.curves["metric"] == rows["metric"].iloc[0])]
    matched = matched.loc[matched["experiment"].isin(list(beside))].assign(series=f"{word}, not shuffled")
    return pd.concat([matched, rows], ignore_index=True)


def file_name(*parts: object) -> str:
    """A file name from words, short enough for every file system; different words can give the same name."""
    name = "--".join(re.sub(r"[^\w.]+|_", "-", str(part)).strip("-") for part in parts)
    encoded = name.encode()
    if len(encoded) <= _LONGEST:
        return name
    return f"{encoded[:_LONGEST].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"


def _best(rows: pd.DataFrame) -> str:
    """Best layer pair per model pair and direction, in words."""
    sentences = []
    for (direction, language), part in rows.groupby(["direction", "language_model"], sort=False):
        if part["score"].notna().any():
            best = part.loc[best_index(part["score"], str(part["metric"].iloc[0]))]
            sentences.append(
                f"{language}, {direction_words(direction)}: best {best['score']:.2f} at vision "
                f"{spoken(best['vision_layer'])} and language {spoken(best['language_layer'])}"
            )
    return "Heat maps. " + "; ".join(sentences) + "."


def _means(rows: pd.DataFrame, column: str, unit: str = "") -> str:
    """Means over model pairs by direction, in words."""
    sentences = []
    for direction, part in rows.groupby("direction", sort=False):
        keys = ["series", column] if "series" in part and part["series"].nunique() > 1 else [column]
        means = part.groupby(keys, sort=False)["score"].mean()
        words = ", ".join(f"{_label(key, unit)} {mean:.3f}" for key, mean in means.items())
        sentences.append(f"{direction_words(direction)}: {words}")
    metric = metric_words(str(rows["metric"].iloc[0])) if len(rows) else ""
    return f"Mean {metric} over model pairs. " + "; ".join(sentences) + "."


def _label(key: Any, unit: str) -> str:
    if isinstance(key, tuple):
        return f"{spoken(str(key[0]))}, {_label(key[1], unit)}"
    return f"{key:g} {unit}".strip() if isinstance(key, int | float) else spoken(str(key))


def _flat(marks: Mapping[tuple[str, str], Mark]) -> str:
    return "".join(
        f" {spoken(name)}, {direction_words(direction)}: flattens at {at:.1f}."
        for (name, direction), (at, _, _) in marks.items()
    )
