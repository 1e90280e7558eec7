"""Along training, one figure shows the layers at every step: there is no map of each checkpoint beside it."""

import pandas as pd
import pytest

from vla.report.illustrations import _paired, illustrations
from vla.report.run_folder import RunFolder

LAYERS = ["block_1", "block_2", "block_3"]


def test_layer_maps_are_drawn_of_experiments_that_do_not_follow_training(tmp_path):
    rows = [
        ("E", f"step {step}", "v", "l", "linear_predictivity", "vision_to_language", v, t, 40, 0.1, float("nan"))
        for step in (0, 10)
        for v in LAYERS
        for t in LAYERS
    ]
    names = "experiment condition vision_model language_model metric direction vision_layer language_layer n_items"
    scores = pd.DataFrame(rows, columns=[*names.split(), "score", "null_mean"])
    curves = scores.assign(series="step", k=[0] * 9 + [10] * 9)
    models = [{"name": "v", "layers": LAYERS}, {"name": "l", "layers": LAYERS}]
    run = RunFolder(tmp_path, {"models": models}, scores, pd.DataFrame(columns=["experiment"]), curves, {}, {}, {}, ())
    conditions = [
        {"name": f"{step}", "series": "step", "vision_group": f"v at {step}", "language_group": "core"}
        for step in (0, 10)
    ]
    found = {
        title: [one.name for one in illustrations(run, {"id": "E", "title": title, "conditions": points})]
        for title, points in (("Layer maps", []), ("Both models along training", conditions))
    }
    assert sum("--maps--" in name for name in found["Layer maps"]) == 2
    assert found["Both models along training"] == ["E--training--linear-predictivity"]


@pytest.mark.parametrize(("score", "drawn"), [(0.1, 0), (0.2, 1)])
def test_layer_maps_are_drawn_with_the_first_experiment_that_has_them(tmp_path, score, drawn):
    rows = [
        (id, "original", "v", "l", "mutual_knn", "symmetric", v, t, 40, value, float("nan"))
        for id, value in (("Size", 0.1), ("Loss", score))
        for v in LAYERS
        for t in LAYERS
    ]
    names = "experiment condition vision_model language_model metric direction vision_layer language_layer n_items"
    scores = pd.DataFrame(rows, columns=[*names.split(), "score", "null_mean"])
    described = {"models": [], "experiments": [{"id": "Size"}, {"id": "Loss"}]}
    empty = pd.DataFrame(columns=["experiment", "metric"])
    run = RunFolder(tmp_path, described, scores, empty, empty, {}, {}, {}, ())
    maps = {
        id: [one.name for one in illustrations(run, {"id": id}) if "--maps--" in one.name] for id in ("Size", "Loss")
    }
    assert len(maps["Size"]) == 1 and len(maps["Loss"]) == drawn


def test_a_checkpoint_is_joined_to_its_model_unless_both_stand_in_one_condition():
    def rows(*cells):
        return pd.DataFrame(
            [(condition, "symmetric", vision, "l") for condition, vision in cells],
            columns=["condition", "direction", "vision_model", "language_model"],
        )

    joined = _paired(rows(("trained", "v"), ("untrained", "v@0")))
    assert joined["vision_model"].tolist() == ["v", "v"]
    both = rows(("all", "v"), ("all", "v@0"), ("few", "v@0"))
    assert _paired(both)["vision_model"].tolist() == ["v", "v@0", "v@0"]
