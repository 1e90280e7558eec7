"""The figures of an experiment: which kinds suit its tables, with captions, descriptions and what made them."""

import dataclasses
import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vla.experiments.naming import trunk
from vla.experiments.penultimate import scalars
from vla.metrics import best_index
from vla.report import run_folder
from vla.report.figures import backbones, conditions, curves, depth, growth, layer_maps, training
from vla.report.figures.style import DIRECTION_WORDS, metric_words, spoken
from vla.report.run_folder import RunFolder
from vla.report.run_folder import growth as growth_rows
from vla.report.words import number, table

Mark = tuple[float, float, float]


def plateau_marks(plateaus: pd.DataFrame) -> dict[tuple[str, str], Mark]:
    """By (series, direction): where a curve flattens, and the interval of that over models.

    Shuffled series, those that fall and those that do not flatten have none. The upper end may be infinite.

    Args:
      plateaus: Rows of `plateaus.csv` of one experiment and metric.
    """
    return {
        (str(row["series"]), str(row["direction"])): (row["k"], row["k_low"], row["k_high"])
        for row in plateaus.to_dict("records")
        if "shuffled" not in str(row["series"]) and np.isfinite(row["k"]) and row["gain"] > 0
    }


def peak_marks(peaks: pd.DataFrame) -> dict[tuple[str, str], Mark]:
    """By (direction, side): depth at which the mean profile is highest, and the interval of that over models.

    Args:
      peaks: Rows of `peaks.csv` of one experiment, condition and metric.
    """
    return {
        (str(row["direction"]), str(row["side"])): (row["depth"], row["depth_low"], row["depth_high"])
        for row in peaks.to_dict("records")
    }


def plateau_table(plateaus: pd.DataFrame) -> dict[str, Any] | None:
    """The table of an experiment's curves; None where there is none."""
    if plateaus.empty:
        return None
    rows = [_curve(row) for row in plateaus.to_dict("records")]
    caption = (
        "Where the mean curve over model pairs flattens, by a fitted saturating exponential; brackets hold 95 % "
        "intervals over vision and language models as crossed factors. With fewer than two models of a side there is "
        "no interval over models."
    )
    return {"title": "Where averaging flattens", **table(caption, pd.DataFrame(rows))}


def _curve(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "Curve": f"{spoken(str(row['series']))}, to {row['most']:g}",
        **_measured(row),
        "Pairs": f"{row['n_pairs']:g}",
        "95 % of the gain at": _count(row["k"], row) + _ends(row, "k", lambda end: _count(end, row)),
        "Height of the plateau": number(row["level"]) + _ends(row, "level", number),
        "Gain over one": number(row["gain"], sign=True) + _ends(row, "gain", lambda end: number(end, sign=True)),
        "Note": _note(row),
    }


def peak_table(peaks: pd.DataFrame) -> dict[str, Any] | None:
    """The table of an experiment's layer maps; None where there is none."""
    if peaks.empty:
        return None
    rows = [
        {
            "Condition": str(row["condition"]),
            **_measured(row),
            "Depth of": f"the {row['side']} model",
            "Pairs": f"{row['n_pairs']:g}",
            "Peak at": number(row["depth"], 2) + _ends(row, "depth", lambda end: number(end, 2)),
            "Score there": number(row["score"]) + _ends(row, "score", number),
            "Better than depth 0 by": number(row["rise"], sign=True),
            "Note": _note(row),
        }
        for row in peaks.to_dict("records")
    ]
    caption = (
        "Where the mean depth profile over model pairs peaks: 0 is the embedding, 1 the last block; brackets hold 95 % "
        "intervals over vision and language models as crossed factors. With fewer than two models of a side there is "
        "no interval over models. All depths are in depth.csv."
    )
    return {"title": "Where in depth alignment peaks", **table(caption, pd.DataFrame(rows))}


def best_table(summary: pd.DataFrame) -> dict[str, Any] | None:
    """The best pair of layers of every layer map; None where there is no map.

    Args:
      summary: Rows of `summary.csv`.
    """
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
            "Best": number(row["best"]) + _ends(row, "best_ci", number),
            "Vision layer": spoken(str(row["best_vision_layer"])),
            "Language layer": spoken(str(row["best_language_layer"])),
            "Mean of all pairs": number(row["mean"]),
            "Shuffled": number(row["null_mean"]),
            "Reliability": number(row["reliability"], 2),
        }
        for row in maps.to_dict("records")
    ]
    caption = (
        "The best pair of layers of every map, in brackets its 95 % interval over items; beside it the mean over all "
        "pairs, and that of shuffled items. Reliability: how far the map repeats itself on other items. The best of "
        "many pairs is higher than a pair chosen beforehand; best_p_max in summary.csv allows for that."
    )
    return {"title": "Best pairs of layers", **table(caption, pd.DataFrame(rows))}


def _measured(row: Mapping[str, Any]) -> dict[str, str]:
    words = DIRECTION_WORDS.get(row["direction"], str(row["direction"]))
    return {"Metric": metric_words(str(row["metric"])), "Direction": words}


def _count(value: float, row: Mapping[str, Any]) -> str:
    return f"beyond {row['most']:g}" if math.isinf(value) else number(value, 1)


def _ends(row: Mapping[str, Any], name: str, said: Any) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if math.isnan(low) or math.isnan(high) else f" [{said(low)}, {said(high)}]"


def _note(row: Mapping[str, Any]) -> str:
    return row["note"] if isinstance(row["note"], str) else ""


# Bytes of a name that leave room for endings in the 255 that a file system takes.
_LONGEST = 200
# From so many vision models on, averaging is also shown by model.
_MANY_BACKBONES = 5


@dataclasses.dataclass(frozen=True)
class Illustration:
    """A figure that can be drawn.

    Attributes:
      name: Of its files.
      caption: What it shows and how to read it.
      spoken: What it says, with its numbers, for those who cannot see it.
      draw: Draws it.
      rows: The rows of the run's tables that it shows.
      source: The table that they come from.
      of_paper: Whether the paper has a figure of this kind.
    """

    name: str
    caption: str
    spoken: str
    draw: Callable[[], Figure]
    rows: pd.DataFrame
    source: str
    of_paper: bool = True


def illustrations(run: RunFolder, experiment: Mapping[str, Any]) -> Iterator[Illustration]:
    """The figures that the tables of an experiment allow, in the order of the paper's panels."""
    id = str(experiment["id"])
    scores, counted = run.of("scores", id), run.of("curves", id)
    if not run_folder.along_training(experiment):  # of which one figure shows the layers at every step
        yield from _maps(id, run_folder.layer_maps(scores), run.of("peaks", id))
    yield from _conditions(run, experiment, scalars(scores))
    if experiment.get("against"):
        yield from _growth(run, experiment)
    for metric, rows in counted.groupby("metric", sort=False):
        yield from _counted(run, experiment, str(metric), rows)


def _maps(id: str, scores: pd.DataFrame, peaks: pd.DataFrame) -> Iterator[Illustration]:
    for (metric, condition), rows in scores.groupby(["metric", "condition"], sort=False):
        for model, own in rows.groupby("vision_model", sort=False):
            yield Illustration(
                file_name(id, "maps", condition, metric, model),
                f"Alignment of every layer of {model} (upwards from the input) with every layer of each language "
                "model (to the right), one row per direction. Brighter is more alike; the ring marks the best "
                "pair" + ", the line on the colour scale the mean with items shuffled" * _has_null(own) + ". Hatched "
                "cells have no score: that layer is the same for every item.",
                _best(own),
                lambda own=own: layer_maps.draw(own),
                own,
                "scores.parquet",
            )
        profiles = depth.profiles_of(rows).assign(experiment=id)
        at = peak_marks(peaks.loc[(peaks["metric"] == metric) & (peaks["condition"] == condition)])
        yield Illustration(
            file_name(id, "depth", condition, metric),
            "Alignment by depth: the best score of each layer over all layers of the other model, averaged over the "
            "models of the other side. The dashed line is the depth of the peak, the band its 95 % interval over model "
            "pairs. The final norm stands beyond depth 1 and is not shown.",
            "Peaks: "
            + "; ".join(
                f"{DIRECTION_WORDS.get(direction, direction)}, {side} at {place:.2f} of the depth"
                for (direction, side), (place, _, _) in at.items()
            )
            + ".",
            lambda profiles=profiles, at=at: depth.draw(profiles, at),
            profiles,
            "scores.parquet",
            of_paper=False,
        )


def _growth(run: RunFolder, experiment: Mapping[str, Any]) -> Iterator[Illustration]:
    against = str(experiment["against"])
    for metric, rows in growth_rows(run, experiment).groupby("metric", sort=False):
        yield Illustration(
            file_name(str(experiment["id"]), against, metric),
            f"The best pair of layers of every pair of models, against the {growth.AXES[against][0]}: a line for each "
            "vision model, a mark for each language model.",
            f"Best pairs of layers by {metric_words(str(metric))}. "
            + "; ".join(
                f"{row['vision_model']} with {row['language_model']}: {row['score']:.3f}"
                for row in rows.to_dict("records")
            )
            + ".",
            lambda rows=rows: growth.draw(rows, against),
            rows,
            "scores.parquet",
        )


def _conditions(run: RunFolder, experiment: Mapping[str, Any], scores: pd.DataFrame) -> Iterator[Illustration]:
    statistics = run.of("statistics", str(experiment["id"]))
    for group in run_folder.groups(experiment):
        own = scores.loc[scores["condition"].isin(group.conditions)]
        for metric, rows in own.groupby("metric", sort=False):
            ordered = rows.set_index("condition").loc[[c for c in group.conditions if c in set(rows["condition"])]]
            tested = statistics.loc[statistics["comparison"].isin(group.comparisons) & (statistics["metric"] == metric)]
            shown = ordered.reset_index()
            if shown["condition"].nunique() < 2:
                continue  # with one condition there is nothing to compare
            length = scores.loc[(scores["condition"] == run_folder.LENGTH) & (scores["metric"] == metric)]
            beside = length if "captions" in group.name or "caption" in group.name else None
            yield Illustration(
                file_name(str(experiment["id"]), group.name, metric),
                f"Each thin line is one pair of models, a dot its score under a condition; wide marks are means over "
                f"pairs, bars their standard errors. Marks above: paired t against {spoken(group.conditions[0])}, "
                "false discovery rate controlled (*** q < .001, ** q < .01, * q < .05, n.s. not significant)."
                + " Dashed: the score with items shuffled." * _has_null(shown)
                + " Dotted: how far the length of captions alone goes." * (beside is not None and not beside.empty),
                _means(shown, "condition"),
                lambda shown=shown, tested=tested, beside=beside: conditions.draw(_paired(shown), tested, beside),
                shown,
                "scores.parquet",
            )


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in which checkpoints bear their model's name where a condition has one of each, as they are compared."""
    models = ["vision_model", "language_model"]
    named = rows.assign(**{name: rows[name].map(trunk) for name in models})
    return rows if named.duplicated(["condition", "direction", *models]).any() else named


def _counted(run: RunFolder, experiment: Mapping[str, Any], metric: str, rows: pd.DataFrame) -> Iterator[Illustration]:
    id = str(experiment["id"])
    if run_folder.along_training(experiment):
        yield Illustration(
            file_name(id, "training", metric),
            "Above: every layer of the predicted model (upwards) at each saved step of training (to the right), by its "
            "best score over the layers of the other model, the mean over model pairs; white without a score. Below: "
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
            "factors, where there are at least two of each"
            + ", and the same with items shuffled (grey)" * _has_null(rows)
            + ". A score belongs to its number of items: compare only within a column.",
            _means(rows, "k", "items"),
            lambda: curves.draw(_with_null(rows), "number of items", logarithmic=True),
            rows,
            "curves.csv",
        )
    else:
        if rows["vision_model"].nunique() >= _MANY_BACKBONES:
            yield Illustration(
                file_name(id, "backbones", metric),
                "What averaging gains with each vision model: hollow marks one exemplar, filled marks the average of "
                "the most, small dots the language models.",
                _means(rows.loc[rows["k"] == rows.groupby("series")["k"].transform("max")], "vision_model"),
                lambda: backbones.draw(rows),
                rows,
                "curves.csv",
            )
        for word, own in run_folder.curve_groups(rows).items():
            shown = _with_matched(run, own, word, experiment.get("beside", ()))
            flat = run.of("plateaus", id)
            found = plateau_marks(flat.loc[(flat["metric"] == metric) & flat["series"].isin(own["series"])])
            yield Illustration(
                file_name(id, word, metric),
                f"Score against the number of {word} whose embeddings are averaged: mean over model pairs with its "
                "95 % interval over vision and language models as crossed factors, where there are at least two of "
                "each; thin lines are the pairs."
                + " The triangle marks where the fitted curve has 95 % of its gain, the bar the 95 % interval of that "
                "number." * bool(found),
                _means(shown.loc[shown["k"].isin([shown["k"].min(), shown["k"].max()])], "k", word)
                + _flat(found),
                lambda shown=shown, word=word, found=found: curves.draw(shown, f"{word} averaged", found),
                shown,
                "curves.csv",
            )  # fmt: skip


def _has_null(rows: pd.DataFrame) -> bool:
    return bool(rows["null_mean"].notna().any())


def _with_null(rows: pd.DataFrame) -> pd.DataFrame:
    """Curves with their baselines of shuffled items, where there are any, as further series."""
    null = rows.loc[rows["null_mean"].notna()]
    null = null.assign(score=null["null_mean"], series=null["series"].astype(str) + ", shuffled")
    return pd.concat([rows, null], ignore_index=True)


def _with_matched(run: RunFolder, rows: pd.DataFrame, word: str, beside: Sequence[str]) -> pd.DataFrame:
    """Shuffled curves and, from the experiments to be drawn beside them, the curves that are not shuffled."""
    if not rows["series"].str.contains(run_folder.SHUFFLED).all():
        return rows
    matched = run.curves.loc[(run.curves["series"] == word) & (run.curves["metric"] == rows["metric"].iloc[0])]
    matched = matched.loc[matched["experiment"].isin(list(beside))].assign(series=f"{word}, not shuffled")
    return pd.concat([matched, rows], ignore_index=True)


def file_name(*parts: object) -> str:
    """A name for files from words, short enough for every file system; other words may have the same."""
    name = "--".join(re.sub(r"[^\w.]+|_", "-", str(part)).strip("-") for part in parts)
    encoded = name.encode()
    if len(encoded) <= _LONGEST:
        return name
    return f"{encoded[:_LONGEST].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"


def _best(rows: pd.DataFrame) -> str:
    """Best layer pair per model pair and direction, in words."""
    found = []
    for (direction, language), own in rows.groupby(["direction", "language_model"], sort=False):
        if own["score"].notna().any():
            best = own.loc[best_index(own["score"], str(own["metric"].iloc[0]))]
            found.append(
                f"{language}, {DIRECTION_WORDS.get(str(direction), direction)}: best {best['score']:.2f} at vision "
                f"{spoken(best['vision_layer'])} and language {spoken(best['language_layer'])}"
            )
    return "Heat maps. " + "; ".join(found) + "."


def _means(rows: pd.DataFrame, column: str, before: str = "") -> str:
    """Means over model pairs by direction, in words."""
    found = []
    for direction, own in rows.groupby("direction", sort=False):
        named = ["series", column] if "series" in own and own["series"].nunique() > 1 else [column]
        means = own.groupby(named, sort=False)["score"].mean()
        words = ", ".join(f"{_label(key, before)} {mean:.3f}" for key, mean in means.items())
        found.append(f"{DIRECTION_WORDS.get(str(direction), direction)}: {words}")
    metric = metric_words(str(rows["metric"].iloc[0])) if len(rows) else ""
    return f"Mean {metric} over model pairs. " + "; ".join(found) + "."


def _label(key: Any, before: str) -> str:
    if isinstance(key, tuple):
        return f"{spoken(str(key[0]))}, {_label(key[1], before)}"
    return f"{key:g} {before}".strip() if isinstance(key, int | float) else spoken(str(key))


def _flat(found: Mapping[tuple[str, str], tuple[float, float, float]]) -> str:
    return "".join(
        f" {spoken(name)}, {DIRECTION_WORDS.get(direction, direction)}: flattens at {at:.1f}."
        for (name, direction), (at, _, _) in found.items()
    )
