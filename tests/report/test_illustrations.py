"""Captions of figures say what is in them and no more."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vla.experiments.plateaus import plateaus
from vla.report.illustrations import file_name, illustrations
from vla.report.run_folder import RunFolder
from vla.report.selecting import LENGTH

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
    assert ("triangle" in shown.caption) is marked and ("flattens at" in shown.spoken) is marked
    assert "1 captions 0.1" in shown.spoken and "12 captions 0." in shown.spoken


def test_curves_of_many_vision_models_are_shown_by_model_as_well():
    few = [*curve(lambda k: 0.1 * k, 3), *curve(lambda k: 0.2 * k, 2, series="images")]
    many = [*few, *({**row, "vision_model": "e"} for row in few if row["vision_model"] == "a")]
    for rows, names in ((few, ["captions", "images"]), (many, ["backbones", "captions", "images"])):
        found = list(illustrations(run(curves=rows), {"id": "E6", "title": "Captions averaged"}))
        assert [one.name.split("--")[1] for one in found] == names
    # Each at the most that was averaged of it.
    assert "captions, e 0.300" in found[0].spoken and "images, e 0.400" in found[0].spoken


def test_the_baseline_of_lengths_is_explained_where_there_is_one():
    score = {**PAIR, "experiment": "E3", "vision_layer": "block_1", "language_layer": "block_1", "null_mean": 0.0}
    rows = [{**score, "condition": name, "vision_model": v, "score": 0.3}
            for name in ("original", "nouns", LENGTH) for v in "ab"]  # fmt: skip
    experiment = {"id": "E3", "title": "Captions",
                  "conditions": [{"name": name, "part": "caption manipulations"} for name in ("original", "nouns")],
                  "comparisons": [{"name": "nouns", "higher": "original", "lower": "nouns"}]}  # fmt: skip
    (shown,) = illustrations(run(scores=rows), experiment)
    assert "Dotted: how far the length of captions alone goes." in shown.caption
    (shown,) = illustrations(run(scores=rows[:4]), experiment)
    assert "Dotted" not in shown.caption and "Dashed" in shown.caption
    (shown,) = illustrations(run(scores=[{**row, "null_mean": np.nan} for row in rows[:4]]), experiment)
    assert "Dashed" not in shown.caption


def test_names_of_files():
    assert file_name("E3", "maps", "nouns+verbs", "linear_predictivity", "a/b@3") == (
        "E3--maps--nouns-verbs--linear-predictivity--a-b-3"
    )
