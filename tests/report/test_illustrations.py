"""Captions of figures say what is in them and no more."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.report.paper_run import write_paper_run
from vla.experiments.results import plateaus
from vla.report.illustrations import (
    best_table,
    file_name,
    illustrations,
    peak_marks,
    peak_table,
    plateau_marks,
    plateau_table,
)
from vla.report.run_folder import LENGTH, RunFolder
from vla.report.write import write_report

PAIR = {"language_model": "teller", "metric": "linear_predictivity", "direction": "vision_to_language"}


def run(scores=(), curves=(), flat=None):
    names = ["experiment", "condition", "vision_model", *PAIR, "vision_layer", "language_layer", "score", "null_mean"]
    tables = [pd.DataFrame(list(rows), columns=None if rows else names) for rows in (scores, curves)]
    statistics = pd.DataFrame({"experiment": [], "comparison": [], "metric": []})
    described = {"experiments": [], "models": []}
    found = RunFolder(Path("nowhere"), described, tables[0], statistics, tables[1], {}, {}, {}, ())
    found.__dict__["plateaus"] = plateaus(tables[1]) if curves else pd.DataFrame({"experiment": []})
    found.__dict__["peaks"] = pd.DataFrame({"experiment": []})
    return found


def curve(height, most, noise=0.0, series="captions"):
    return [
        {**PAIR, "experiment": "E6", "series": series, "k": k, "vision_model": model, "n_items": 9, "null_mean": np.nan,
         "dataset": "d", "seed": 1, "score": height(k) + 0.01 * place + noise * np.sin(7 * k + place)}
        for place, model in enumerate("abcd") for k in range(1, most + 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "marked"), [(lambda k: 0.3 - 0.2 * np.exp(-(k - 1)), True), (lambda k: 0.1 + 0.05 * k, False)]
)
def test_a_mark_is_explained_where_there_is_one(height, marked):
    (shown,) = illustrations(run(curves=curve(height, 12)), {"id": "E6", "title": "Captions averaged"})
    assert ("triangle" in shown.caption) is marked and ("flattens at" in shown.alt) is marked
    assert "1 captions 0.1" in shown.alt and "12 captions 0." in shown.alt


def test_curves_of_many_vision_models_are_shown_by_model_as_well():
    few = [*curve(lambda k: 0.1 * k, 3), *curve(lambda k: 0.2 * k, 2, series="images")]
    many = [*few, *({**row, "vision_model": "e"} for row in few if row["vision_model"] == "a")]
    for rows, names in ((few, ["captions", "images"]), (many, ["backbones", "captions", "images"])):
        found = list(illustrations(run(curves=rows), {"id": "E6", "title": "Captions averaged"}))
        assert [one.name.split("--")[1] for one in found] == names
    # Each at the most that was averaged of it.
    assert "captions, e 0.300" in found[0].alt and "images, e 0.400" in found[0].alt


def test_the_baseline_of_lengths_is_explained_where_there_is_one():
    score = {**PAIR, "experiment": "E3", "vision_layer": "block_1", "language_layer": "block_1", "null_mean": 0.0}
    rows = [{**score, "condition": name, "vision_model": v, "score": 0.3}
            for name in ("original", "nouns", LENGTH) for v in "ab"]  # fmt: skip
    experiment = {"id": "E3", "title": "Captions",
                  "conditions": [{"name": name, "part": "caption manipulations"} for name in ("original", "nouns")],
                  "comparisons": [{"name": "nouns", "higher": "original", "lower": "nouns"}]}  # fmt: skip
    (shown,) = illustrations(run(scores=rows), experiment)
    assert "Dotted: the score of the length of captions alone." in shown.caption
    (shown,) = illustrations(run(scores=rows[:4]), experiment)
    assert "Dotted" not in shown.caption and "Dashed" in shown.caption
    (shown,) = illustrations(run(scores=[{**row, "null_mean": np.nan} for row in rows[:4]]), experiment)
    assert "Dashed" not in shown.caption


def test_names_of_files():
    assert file_name("E3", "maps", "nouns+verbs", "linear_predictivity", "a/b@3") == (
        "E3--maps--nouns-verbs--linear-predictivity--a-b-3"
    )


CURVE = {
    "experiment": "E6", "series": "captions", "metric": "linear_predictivity", "direction": "vision_to_language",
    "n_pairs": 8, "most": 15, "k": 9.04, "k_low": 7.5, "k_high": math.inf, "level": 0.51, "level_low": 0.49,
    "level_high": 0.53, "gain": 0.2, "gain_low": 0.18, "gain_high": 0.22, "note": "",
}  # fmt: skip
PEAK = {
    "experiment": "E1", "condition": "original", "metric": "cka", "direction": "symmetric", "side": "vision",
    "n_pairs": 1, "depth": 0.75, "depth_low": math.nan, "depth_high": math.nan, "score": 0.5, "score_low": math.nan,
    "score_high": math.nan, "rise": math.nan, "note": "no interval: too few models for an interval over models",
}  # fmt: skip

BEST = {
    "experiment": "E1", "condition": "original", "vision_model": "seer", "language_model": "teller", "metric": "cka",
    "direction": "symmetric", "seed": 42, "n_items": 12, "layer_pairs": 4, "mean": 0.25, "null_mean": 0.05,
    "best": 0.4, "best_vision_layer": "block_10", "best_language_layer": "embed", "best_ci_low": 0.3,
    "best_ci_high": 0.5, "best_p_max": 0.05, "reliability": 0.8, "ceiling": 0.9,
}  # fmt: skip


def test_a_plateau_in_words():
    shown = plateau_table(pd.DataFrame([CURVE, {**CURVE, "k": math.inf, "k_low": 12.0, "note": "not reached"}]))
    (first, second) = shown["rows"]
    assert [word.lower() for word in first[:4:3]] == ["captions, to 15", "8"] and "predicts language" in first[2]
    assert first[4:7] == ["9.0 [7.5, beyond 15]", "0.510 [0.490, 0.530]", "+0.200 [+0.180, +0.220]"]
    assert second[4] == "beyond 15 [12.0, beyond 15]" and second[-1] == "not reached"
    assert plateau_table(pd.DataFrame([CURVE]).head(0)) is None


def test_a_peak_in_words():
    (row,) = peak_table(pd.DataFrame([PEAK]))["rows"]
    assert row[3:] == [
        "the vision model",
        "1",
        "0.75",
        "0.500",
        "–",
        "no interval: too few models for an interval over models",
    ]
    assert peak_table(pd.DataFrame([PEAK]).head(0)) is None


def test_the_best_pair_in_words():
    shown = best_table(pd.DataFrame([BEST, {**BEST, "layer_pairs": 1}]))
    (row,) = shown["rows"]
    assert row[:4] == ["original", "seer", "teller", "linear CKA"]
    assert row[5:] == ["0.400 [0.300, 0.500]", "block 10", "embed", "0.250", "0.050", "0.80"]
    assert best_table(pd.DataFrame([{**BEST, "layer_pairs": 1}])) is None
    several = best_table(pd.DataFrame([BEST, {**BEST, "seed": 1}]))
    assert several["columns"][5] == "Seed" and [row[5] for row in several["rows"]] == ["42", "1"]


def test_marks_leave_out_what_does_not_flatten():
    curves = [CURVE, {**CURVE, "series": "shuffled captions"}, {**CURVE, "series": "nouns captions", "gain": -0.1},
              {**CURVE, "series": "images", "k": math.inf}]  # fmt: skip
    assert plateau_marks(pd.DataFrame(curves)) == {("captions", "vision_to_language"): (9.04, 7.5, math.inf)}
    depth, low, _ = peak_marks(pd.DataFrame([PEAK]))["symmetric", "vision"]
    assert depth == 0.75 and math.isnan(low)


def test_a_folder_of_an_older_run_gets_its_tables_and_the_page_shows_them(tmp_path):
    only = {f"E{i}" for i in range(1, 14)} - {"E6", "E1", "E2"}
    folder = write_paper_run(tmp_path, not_run={*only, "training", "N sweep"}, n=50)
    page = write_report(folder, [".svg"], show_progress=False).read_text(encoding="utf-8")
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    flat = pd.read_csv(folder / "plateaus.csv").query("direction == 'vision_to_language'").iloc[0]
    # Curves of the fixture rise by 1 - exp(-(k - 1) / 3).
    assert abs(flat["k"] - (1 + 3 * math.log(20))) < 1.5
    assert f"{flat['k']:.1f} [{flat['k_low']:.1f}, " in words and words.count("Where averaging flattens") == 1
    top = pd.read_csv(folder / "peaks.csv").query("metric == 'linear_predictivity'").iloc[0]
    assert f"{top['depth']:.2f} [{top['depth_low']:.2f}, {top['depth_high']:.2f}]" in words
    assert len(pd.read_csv(folder / "depth.csv")) and 'href="../peaks.csv"' in page
    # A table that is there is shown as it is.
    pd.read_csv(folder / "plateaus.csv").assign(k=7.7).to_csv(folder / "plateaus.csv", index=False)
    assert "7.7 [" in write_report(folder, [".svg"], show_progress=False).read_text(encoding="utf-8")
