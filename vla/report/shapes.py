"""Best pairs of layers, peaks of layer maps, plateaus of averaging curves: marks for figures, tables for the page."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vla.report.figures.style import DIRECTION_WORDS, metric_words, spoken
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
