"""From a score to what produced it: one row per condition and model pair, with keys and the command that reruns it."""

import json
import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from vla.experiments.naming import named
from vla.experiments.study import MAIN
from vla.report import selecting
from vla.report.figures.style import ordered_directions
from vla.report.run_folder import RunFolder

_DIGITS = 12
# Flags of a part of the work, and of what is looked into elsewhere: one score is all of one experiment.
_OF_PARTS = ("--config.shard", "--config.stage", "--coordinator", "--processes", "--process",
             "--config.content.experiment", "--config.content.condition")  # fmt: skip


def cells(run: RunFolder, experiment: Mapping[str, Any], scores: pd.DataFrame) -> dict[str, Any]:
    """The table of an experiment's scores.

    Returns:
      `columns`: (metric, direction) of each column of scores; `rows`: dictionaries with condition, vision and language
      model, layers, n_items, keys, the command, and in the order of the columns `scores`, those of shuffled items as
      `null` and the ends of their intervals over items as `interval`, None where there is none.
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
                "interval": [None] * len(measured),
                "keys": _keys(own),
                "command": command(run.run, experiment, own),
                "map": own["condition"] in maps,
            }
        at = measured.index((own["metric"], own["direction"]))
        for name, column in (("scores", "score"), ("null", "null_mean")):
            rows[key][name][at] = _finite(own.get(column))
        ends = (_finite(own.get("ci_low")), _finite(own.get("ci_high")))
        rows[key]["interval"][at] = None if None in ends else ends
    return {"columns": measured, "rows": list(rows.values())}


def command(run: Mapping[str, Any], experiment: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The command that scores the experiment of a cell anew, of its two models alone, into a folder of its own.

    It has everything that determines the score: the conditions whose items are shared, and the settings of the run.

    Args:
      run: `run.json`: its `commands` have under "cell" the command to which flags are added, and under "cell_groups"
        the group of models that flags can name, where it is one alone.
      experiment: Whose score it is.
      row: The score.

    Returns:
      "" where the run did not say.
    """
    condition = next((one for one in experiment.get("conditions", ()) if one["name"] == row["condition"]), {})
    groups = {modality: condition.get(f"{modality}_group", "") for modality in ("vision", "language")}
    start, only = run["commands"].get("cell", ""), run["commands"].get("cell_groups", "")
    if not start or not all(groups.values()) or (only and set(groups.values()) != {only}):
        return ""
    sweep = condition.get("series") == "items"
    asked: dict[str, tuple[str, ...]] = {}
    if set(groups.values()) != {MAIN}:  # a config of one group has no catalogue of experiments to choose from
        asked["experiments"] = () if sweep else (experiment["id"],)
        asked |= {} if sweep else {"sweep": ()}
    for modality, group in groups.items():
        name = modality if group == MAIN else f"{modality}.{group}"
        asked[name] = (_given(run, modality, row[f"{modality}_model"]),)
    flags = {f"--config.{name}": value for name, value in asked.items()}
    return shlex.join(
        [
            *_without(shlex.split(start), (*flags, *_OF_PARTS)),
            *(f"{name}={_spelled(value)}" for name, value in flags.items()),
        ]
    )


def _spelled(names: Sequence[str]) -> str:
    """A tuple of a config in double quotes, which a shell's single quotes leave readable."""
    return f"({''.join(f'{json.dumps(name)},' for name in names)})"


def _without(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """The words less some flags: of a flag given twice, values that are tuples would be joined."""
    kept, place = [], 0
    while place < len(words):
        name, sign, _ = words[place].partition("=")
        if name not in flags:
            kept.append(words[place])
        elif not sign:
            place += 1
        place += 1
    return kept


def _given(run: Mapping[str, Any], modality: str, name: str) -> str:
    """A model as a config names it."""
    models = [one for one in run["models"] if (one["modality"], one["name"]) == (modality, name)]
    source = models[0]["source"] if models else name
    return source if named(source)[0] == name else f"{name}={source}"


def short(key: str) -> str:
    """The first digits of a key, by which the store names its groups."""
    return str(key)[:_DIGITS]


def _finite(value: Any) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None


def _keys(row: Mapping[str, Any]) -> dict[str, str]:
    """The keys of both sides, as far as there are any."""
    given = {side: row.get(f"{side}_key") for side in ("vision", "language")}
    return {side: key for side, key in given.items() if isinstance(key, str) and key}
