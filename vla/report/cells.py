"""From a score to what produced it: one row per condition and model pair, with keys and the command that reruns it."""

import math
import string
from collections.abc import Mapping
from typing import Any

import pandas as pd

from vla.report import selecting
from vla.report.figures.style import ordered_directions
from vla.report.run_folder import RunFolder

_DIGITS = 12


def cells(run: RunFolder, experiment: Mapping[str, Any], scores: pd.DataFrame) -> dict[str, Any]:
    """The table of an experiment's scores.

    Returns:
      `columns`: (metric, direction) of each column of scores; `rows`: dictionaries with condition, vision and language
      model, layers, n_items, `scores` in the order of the columns, keys and the command.
    """
    measured = [
        (metric, direction)
        for metric in dict.fromkeys(scores["metric"])
        for direction in ordered_directions(scores.loc[scores["metric"] == metric, "direction"].unique())
    ]
    maps = set(selecting.layer_maps(run.of("scores", str(experiment["id"])))["condition"])
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for own in scores.to_dict("records"):
        key = (own["condition"], own["vision_model"], own["language_model"])
        if key not in rows:
            rows[key] = {
                **{name: own[name] for name in ("condition", "vision_model", "language_model")},
                **{name: own[name] for name in ("vision_layer", "language_layer")},
                "n_items": int(own["n_items"]),
                "scores": [None] * len(measured),
                "null": [None] * len(measured),
                "keys": _keys(own),
                "command": command(run.run["commands"].get("cell", ""), experiment, own),
                "map": own["condition"] in maps,
            }
        at = measured.index((own["metric"], own["direction"]))
        for name, column in (("scores", "score"), ("null", "null_mean")):
            value = own.get(column)
            rows[key][name][at] = value if isinstance(value, float) and math.isfinite(value) else None
    return {"columns": measured, "rows": list(rows.values())}


def command(template: str, experiment: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The command that computes one cell again; fields that the template does not name are left out."""
    values = {name: row[name] for name in ("condition", "vision_model", "language_model", "metric", "direction")}
    values["experiment"] = experiment["id"]
    known = {field for _, field, _, _ in string.Formatter().parse(template) if field}
    if known - set(values):
        return template
    return template.format(**{name: values[name] for name in known})


def short(key: str) -> str:
    """The first digits of a key, by which the store names its groups."""
    return str(key)[:_DIGITS]


def _keys(row: Mapping[str, Any]) -> dict[str, str]:
    """The keys of both sides, as far as there are any."""
    given = {side: row.get(f"{side}_key") for side in ("vision", "language")}
    return {side: key for side, key in given.items() if isinstance(key, str) and key}
