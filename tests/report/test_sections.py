"""What the page says of one experiment, from a few rows written by hand."""

import dataclasses
import math

import pandas as pd
import pytest

from vla.report.claims import Verdict
from vla.report.run_folder import read
from vla.report.sections import badge, cell_anchor, section, section_anchor

MODELS = [
    {"name": "seer", "modality": "vision", "layers": ["embed", "block_1"], "source": "hub/seer"},
    {"name": "teller", "modality": "language", "layers": ["embed", "block_1"], "source": "hub/teller"},
]
CONDITIONS = [
    {"name": name, "image": name, "caption": "original", "part": "i", "series": "", "dataset": "coco", "n_items": 9,
     "left_out": left, "status": status, "why": why}
    for name, left, status, why in (("original", 0, "run", ""), ("rotation", 1, "run", ""),
                                    ("stuff only", 0, "not run", "no masks"))
]  # fmt: skip
EXPERIMENT = {"id": "E2", "title": "manipulated images", "question": "?", "figure": "3A-B", "expected": "falls",
              "dataset": "coco", "status": "run", "why": "no masks", "command": "make masks", "layers": "penultimate",
              "metrics": ["linear_predictivity"], "conditions": CONDITIONS,
              "comparisons": [{"name": "rotation", "higher": "original", "lower": "rotation"}]}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    test = {"experiment": "E2", "higher": "original", "metric": "linear_predictivity",
            "direction": "vision_to_language"}  # fmt: skip
    tests = pd.DataFrame([
        {**test, "comparison": "rotation", "lower": "rotation", "n_pairs": 4, "mean_higher": 0.31234,
         "mean_lower": 0.35,
         "mean_difference": -0.03766, "crossed_ci_low": -0.05, "crossed_ci_high": -0.025, "t": -3.456, "df": 3,
         "p": 0.0408, "q": 0.0816, "effect_size": -1.7, "crossed_p": 0.2, "paper_t": -3.1161, "paper_p": "0.0169",
         "paper_q": "0.0271", "verdict": "same sign"},
        {**test, "comparison": "stuff only", "lower": "stuff only", "n_pairs": 0, "paper_t": 11.7109,
         "paper_p": "<0.0001", "paper_q": "0.0001", "verdict": "not run", "note": "no masks"},
    ])  # fmt: skip
    tests.to_csv(tmp_path / "statistics.csv", index=False)
    (tmp_path / "run.json").write_text('{"experiments": [{}]}')
    score = {"experiment": "E2", "vision_model": "seer", "language_model": "teller", "metric": "linear_predictivity",
             "direction": "vision_to_language", "vision_layer": "block_1", "language_layer": "block_1", "n_items": 8,
             "vision_key": "0123456789abcdef", "language_key": "f" * 16}  # fmt: skip
    scores = pd.DataFrame([
        {**score, "condition": "original", "score": 0.31, "null_mean": -0.004, "ci_low": 0.25, "ci_high": 0.37},
        {**score, "condition": "rotation", "score": 0.35, "null_mean": math.nan, "ci_low": math.nan,
         "ci_high": math.nan},
    ])  # fmt: skip
    described = {"experiments": [EXPERIMENT], "models": MODELS, "commands": {},
                 "datasets": [{"role": "coco", "name": "flickr8k"}]}  # fmt: skip
    groups = {"0123456789abcdef": {"groups": ["seer--original--1"]}}
    return dataclasses.replace(read(tmp_path), run=described, scores=scores, activations=groups)


@pytest.fixture
def said(run):
    return section(run, EXPERIMENT, {("E2", "original"): "view-a"})


def test_a_test_stands_beside_the_papers(said):
    (tests,) = said["tests"]
    first, second = tests["rows"]
    assert (first["mean_higher"], first["mean_lower"]) == ("0.312", "0.350")
    assert first["difference"] == "−0.038 [−0.050, −0.025]" and first["t"] == "−3.46 (3)"
    assert (first["p"], first["q"], first["d"], first["crossed"]) == (".0408", ".0816", "−1.70", ".2000")
    assert (first["paper_t"], first["paper_p"], first["paper_q"]) == ("−3.1161", ".0169", ".0271")
    assert first["lower_link"] == f"#{cell_anchor('E2', 'rotation')}" and tests["higher"] == "original"
    assert not second["tested"] and (second["verdict"], second["note"]) == ("not run", "no masks")
    assert second["paper_p"] == "<.0001"


def test_a_score_has_its_interval_its_baseline_and_what_is_behind_it(said):
    first, second = said["cells"]["rows"]
    assert first["values"] == ["0.310 [0.250, 0.370] (−0.00)"] and second["values"] == ["0.350"]
    assert said["cells"]["has_null"] and said["cells"]["has_interval"]
    assert (first["id"], first["view"], second["view"]) == ("cell-E2--original", "view-a", "")
    assert first["groups"] == {"vision": ["seer--original--1"], "language": []}
    assert first["keys"] == {"vision": "0123456789ab", "language": "f" * 12}
    assert first["vision_anchor"] == "model-vision--seer"


def test_what_was_asked_and_what_of_it_was_run(said):
    assert (said["title"], said["anchor"], said["dataset"]) == ("Manipulated images", section_anchor("E2"), "flickr8k")
    assert (said["why"], said["command"], said["figure"]) == ("no masks", "make masks", "3A-B")
    assert said["verdict"]["words"] == "differs" and said["verdict"]["sign"] == "✗"
    assert said["conditions"]["rows"][1] == ["rotation", "rotation", "original", "flickr8k", "9", "1", "run"]
    assert said["conditions"]["rows"][2][-1] == "not run: no masks"


def test_of_what_was_not_run_nothing_is_claimed(run):
    said = section(run, {**EXPERIMENT, "status": "not run"}, {})
    assert said["tests"] == [] and said["claims"] == [] and said["verdict"]["words"] == "not run"


def test_verdicts_are_told_by_more_than_their_colour():
    signs = {badge(Verdict(words, ""))["sign"] for words in ("agrees", "agrees in part", "differs", "not run")}
    assert len(signs) == 4
    assert badge(Verdict("no claim to compare", ""))["sign"] == badge(Verdict("not run", ""))["sign"]
