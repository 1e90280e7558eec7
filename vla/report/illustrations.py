"""The figures of an experiment: which kinds suit its tables, with captions, descriptions and what made them."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vla.experiments.naming import trunk
from vla.experiments.penultimate import scalars
from vla.metrics import best_index
from vla.report import selecting
from vla.report.claims import growth as growth_rows
from vla.report.figures import backbones, conditions, curves, depth, growth, layer_maps, training
from vla.report.figures.style import DIRECTION_WORDS, metric_words, spoken
from vla.report.run_folder import RunFolder
from vla.report.shapes import peak_marks, plateau_marks

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
    if not selecting.along_training(experiment):  # of which one figure shows the layers at every step
        yield from _maps(id, selecting.layer_maps(scores), run.of("peaks", id))
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
    for group in selecting.groups(experiment):
        own = scores.loc[scores["condition"].isin(group.conditions)]
        for metric, rows in own.groupby("metric", sort=False):
            ordered = rows.set_index("condition").loc[[c for c in group.conditions if c in set(rows["condition"])]]
            tested = statistics.loc[statistics["comparison"].isin(group.comparisons) & (statistics["metric"] == metric)]
            shown = ordered.reset_index()
            if shown["condition"].nunique() < 2:
                continue  # with one condition there is nothing to compare
            length = scores.loc[(scores["condition"] == selecting.LENGTH) & (scores["metric"] == metric)]
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
    if selecting.along_training(experiment):
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
    elif selecting.counts_items(rows):
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
        for word, own in selecting.curve_groups(rows).items():
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
    if not rows["series"].str.contains(selecting.SHUFFLED).all():
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
