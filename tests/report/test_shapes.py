"""Marks and tables of plateaus and peaks say what the tables of the run folder say, and older folders get theirs."""

import math
import re

import pandas as pd

from tests.report.paper_run import write_paper_run
from vla.report.shapes import best_table, peak_marks, peak_table, plateau_marks, plateau_table
from vla.report.write import write_report

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
