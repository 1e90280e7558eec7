"""The section of one experiment on the page: verdict, claims, tests, scores, conditions."""

import dataclasses
import json
import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from vla.experiments.names import name_and_source
from vla.experiments.results import scalars
from vla.experiments.study import MAIN
from vla.report import run_folder
from vla.report.claims import NOT_RUN, Claim, Verdict, outcomes, verdict
from vla.report.figures.style import direction_words, metric_words, ordered_directions
from vla.report.illustrations import best_table, peak_table, plateau_table
from vla.report.run_folder import RunFolder
from vla.report.words import NONE, anchor, number, p_value, sentence, table

_DIGITS = 12
# Flags of one shard or stage and of the analysis of content, which the command of a single score omits.
_OF_PARTS = ("--config.shard", "--config.stage", "--coordinator", "--processes", "--process",
             "--config.content.experiment", "--config.content.condition")  # fmt: skip


def cells(run: RunFolder, experiment: Mapping[str, Any], scores: pd.DataFrame) -> dict[str, Any]:
    """The table of an experiment's scores.

    Returns:
      `columns`: (metric, direction) of each column of scores; `rows`: dictionaries with condition, vision and language
      model, layers, n_items, keys, the command, and in the order of the columns `scores`, those of shuffled items as
      `null` and the ends of their intervals over items as `interval`, None if missing.
    """
    measured = [
        (metric, direction)
        for metric in dict.fromkeys(scores["metric"])
        for direction in ordered_directions(scores.loc[scores["metric"] == metric, "direction"].unique())
    ]
    maps = set(run_folder.layer_maps(run.of("scores", str(experiment["id"])))["condition"])
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in scores.to_dict("records"):
        key = (row["condition"], row["vision_model"], row["language_model"])
        if key not in rows:
            rows[key] = {
                **{name: row[name] for name in ("condition", "vision_model", "language_model")},
                **{name: row[name] for name in ("vision_layer", "language_layer")},
                "n_items": int(row["n_items"]),
                "scores": [None] * len(measured),
                "null": [None] * len(measured),
                "interval": [None] * len(measured),
                "keys": _keys(row),
                "command": command(run.run, experiment, row),
                "map": row["condition"] in maps,
            }
        column = measured.index((row["metric"], row["direction"]))
        for name, source in (("scores", "score"), ("null", "null_mean")):
            rows[key][name][column] = _finite(row.get(source))
        ends = (_finite(row.get("ci_low")), _finite(row.get("ci_high")))
        rows[key]["interval"][column] = None if None in ends else ends
    return {"columns": measured, "rows": list(rows.values())}


def command(run: Mapping[str, Any], experiment: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The command that computes one score again: its experiment with its two models, in a new folder; "" for none.

    It runs all conditions of the experiment, because they share items, with the settings of the run. The `commands` of
    a run have under "cell" the command to which flags are added, and under "cell_groups" the group of models that flags
    can name, if it is a single one.
    """
    condition = next((each for each in experiment.get("conditions", ()) if each["name"] == row["condition"]), {})
    groups = {modality: condition.get(f"{modality}_group", "") for modality in ("vision", "language")}
    start, only = run["commands"].get("cell", ""), run["commands"].get("cell_groups", "")
    if not start or not all(groups.values()) or (only and set(groups.values()) != {only}):
        return ""
    sweep = condition.get("series") == "items"
    values: dict[str, tuple[str, ...]] = {}
    if set(groups.values()) != {MAIN}:  # a config without groups has no list of experiments
        values["experiments"] = () if sweep else (experiment["id"],)
        values |= {} if sweep else {"sweep": ()}
    for modality, group in groups.items():
        name = modality if group == MAIN else f"{modality}.{group}"
        values[name] = (_as_listed(run, modality, row[f"{modality}_model"]),)
    flags = {f"--config.{name}": value for name, value in values.items()}
    return shlex.join(
        [
            *_without(shlex.split(start), (*flags, *_OF_PARTS)),
            *(f"{name}={_tuple_text(value)}" for name, value in flags.items()),
        ]
    )


def _tuple_text(names: Sequence[str]) -> str:
    """A tuple of a config with double quotes, which stays readable within the single quotes of a shell."""
    return f"({''.join(f'{json.dumps(name)},' for name in names)})"


def _without(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """The words without some flags: tuples of a repeated flag would be joined."""
    kept, index = [], 0
    while index < len(words):
        name, sign, _ = words[index].partition("=")
        if name not in flags:
            kept.append(words[index])
        elif not sign:  # the value is the next word
            index += 1
        index += 1
    return kept


def _as_listed(run: Mapping[str, Any], modality: str, name: str) -> str:
    """A model as a config lists it."""
    models = [model for model in run["models"] if (model["modality"], model["name"]) == (modality, name)]
    source = models[0]["source"] if models else name
    return source if name_and_source(source)[0] == name else f"{name}={source}"


def short(key: str) -> str:
    """The first digits of a key, as in the names of groups of the store."""
    return str(key)[:_DIGITS]


def _finite(value: Any) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None


def _keys(row: Mapping[str, Any]) -> dict[str, str]:
    """The keys of both sides, if present."""
    keys = {side: row.get(f"{side}_key") for side in ("vision", "language")}
    return {side: key for side, key in keys.items() if isinstance(key, str) and key}


_SIGNS = {
    "agrees": ("agrees", "✓"), "agrees in part": ("part", "◐"), "differs": ("differs", "✗"), NOT_RUN: ("none", "○"),
}  # fmt: skip


def section(
    run: RunFolder,
    experiment: Mapping[str, Any],
    views: Mapping[tuple[str, str], str],
    claims: Sequence[Claim] = (),
) -> dict[str, Any]:
    """The values of the template for an experiment, without figures.

    `views` are anchors of the sample items, by (experiment, condition); `claims` those of the paper about it.
    """
    id, ran = str(experiment["id"]), experiment["status"] != NOT_RUN
    checked = outcomes(run, id, claims) if ran else []
    statistics = run.of("statistics", id)
    mark = badge(verdict(experiment, statistics, checked))
    scored = scalars(run.of("scores", id))
    title = str(experiment.get("title") or id)
    shapes = (best_table(run.of("summary", id)), plateau_table(run.of("plateaus", id)), peak_table(run.of("peaks", id)))
    return {
        **{name: experiment.get(name) or "" for name in ("figure", "question", "expected", "why", "command")},
        "dataset": _dataset(run, str(experiment.get("dataset") or "")),
        "id": id,
        "title": sentence(title),
        "anchor": section_anchor(id),
        "ran": ran,
        "verdict": mark,
        "claims": [dataclasses.asdict(outcome) for outcome in checked],
        "tests": [_tests(id, str(metric), rows) for metric, rows in statistics.groupby("metric", sort=False)]
        if ran
        else [],
        "shapes": [shown for shown in shapes if shown is not None],
        "cells": _cells(run, experiment, scored, views) if len(scored) else {"rows": []},
        "conditions": _conditions(run, experiment),
        "metrics": ", ".join(metric_words(name) for name in experiment.get("metrics", ())) or NONE,
        "layers": experiment.get("layers") or "penultimate",
    }


def _dataset(run: RunFolder, role: str) -> str:
    """The name of the dataset with a role; the role itself if it is unknown."""
    names = {str(each.get("role")): str(each["name"]) for each in run.run["datasets"]}
    return names.get(role, role)


def section_anchor(id: str) -> str:
    """The anchor of the section of an experiment."""
    return f"experiment-{anchor(id)}"


def cell_anchor(id: str, condition: str) -> str:
    """The anchor of the first score of a condition."""
    return f"cell-{anchor(id, condition)}"


def badge(verdict: Verdict) -> dict[str, str]:
    """A verdict with its mark."""
    style, sign = _SIGNS.get(verdict.words, ("none", "○"))
    return {"words": verdict.words, "tally": verdict.tally, "style": style, "sign": sign}


def _tests(id: str, metric: str, rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "metric": metric_words(metric),
        "higher": " / ".join(dict.fromkeys(rows["higher"])),
        "rows": [_test(id, row) for row in rows.to_dict("records")],
    }


def _test(id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    low, high = row["crossed_ci_low"], row["crossed_ci_high"]
    interval = f" [{number(low, sign=True)}, {number(high, sign=True)}]" if math.isfinite(low) else ""
    return {
        **{name: row[name] for name in ("comparison", "higher", "lower", "verdict", "note")},
        "direction": direction_words(row["direction"]),
        "higher_link": f"#{cell_anchor(id, row['higher'])}",
        "lower_link": f"#{cell_anchor(id, row['lower'])}",
        "tested": math.isfinite(row["mean_difference"]),
        "mean_higher": number(row["mean_higher"]),
        "mean_lower": number(row["mean_lower"]),
        "difference": number(row["mean_difference"], sign=True) + interval,
        "t": f"{number(row['t'], 2)} ({row['df']:g})" if math.isfinite(row["t"]) else NONE,
        "p": p_value(row["p"]),
        "q": p_value(row["q"]),
        "d": number(row["effect_size"], 2),
        "crossed": p_value(row["crossed_p"]),
        "paper_t": number(row["paper_t"], 4),
        "paper_p": p_value(row["paper_p"]),
        "paper_q": p_value(row["paper_q"]),
    }


def _cells(
    run: RunFolder, experiment: Mapping[str, Any], scored: pd.DataFrame, views: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    grid, id, seen = cells(run, experiment, scored), str(experiment["id"]), set()
    has_null, has_interval = (
        any(value is not None for row in grid["rows"] for value in row[name]) for name in ("null", "interval")
    )
    for row in grid["rows"]:
        anchor_of_row = cell_anchor(id, row["condition"])
        row["id"] = "" if anchor_of_row in seen else anchor_of_row
        seen.add(anchor_of_row)
        row["view"] = views.get((id, row["condition"]), "")
        row["vision_anchor"], row["language_anchor"] = model_anchors(row["vision_model"], row["language_model"])
        row["values"] = [
            number(value) + _ends(ends) + (f" ({number(null, 2)})" if null is not None else "")
            for value, ends, null in zip(row["scores"], row["interval"], row["null"], strict=True)
        ]
        row["groups"] = {side: run.activations.get(key, {}).get("groups", []) for side, key in row["keys"].items()}
        row["keys"] = {side: short(key) for side, key in row["keys"].items()}
    columns = [
        metric_words(metric) + ("" if direction == "symmetric" else f", {direction_words(direction)}")
        for metric, direction in grid["columns"]
    ]
    return {"columns": columns, "rows": grid["rows"], "has_null": has_null, "has_interval": has_interval}


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{number(interval[0])}, {number(interval[1])}]"


def model_anchors(vision: str, language: str) -> tuple[str, str]:
    """The anchors of the rows of a pair of models."""
    return f"model-{anchor('vision', vision)}", f"model-{anchor('language', language)}"


def _conditions(run: RunFolder, experiment: Mapping[str, Any]) -> dict[str, Any] | None:
    conditions: Sequence[Mapping[str, Any]] = experiment.get("conditions", ())
    if not conditions:
        return None
    frame = pd.DataFrame(
        {
            "Condition": each["name"],
            "Images": each.get("image", ""),
            "Captions": each.get("caption", ""),
            "Dataset": _dataset(run, str(each.get("dataset") or "")),
            "Items": each.get("n_items", ""),
            "Left out": each.get("left_out", ""),
            "Status": (each.get("status") or "run") + (f": {each['why']}" if each.get("why") else ""),
        }
        for each in conditions
    )
    return table(f"Conditions of {experiment['id']}: images and captions that the models were shown.", frame)
