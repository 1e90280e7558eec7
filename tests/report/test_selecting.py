"""Which rows of a run belong together in one figure."""

import numpy as np
import pandas as pd

from vla.report import selecting

CELL = {"experiment": "E", "vision_model": "v", "language_model": "t", "metric": "cka", "direction": "symmetric"}


def rows(*cells):
    """Rows of (condition, vision layer, language layer, score)."""
    names = ("condition", "vision_layer", "language_layer", "score")
    return pd.DataFrame([{**CELL, **dict(zip(names, cell, strict=True))} for cell in cells])


def condition(name, **more):
    return {"name": name, "image": "original", "caption": "original", "part": "", "series": "", **more}


def test_comparisons_of_one_part_stand_together_and_those_along_a_curve_do_not():
    conditions = [condition(name, part=part) for name, part in zip("ogtcn", "iiicc", strict=True)]
    conditions += [condition("k1", series="k"), condition("k2", series="k")]
    pairs = [("g", "o", "g"), ("n", "c", "n"), ("t", "o", "t"), ("averaged", "k2", "k1")]
    comparisons = [dict(zip(("name", "higher", "lower"), pair, strict=True)) for pair in pairs]
    found = selecting.groups({"conditions": conditions, "comparisons": comparisons})
    assert found == [
        selecting.Group("i", ("o", "g", "t"), ("g", "t")), selecting.Group("c", ("c", "n"), ("n",)),
    ]  # fmt: skip


def test_conditions_without_a_part_are_told_apart_by_the_side_that_changes():
    conditions = [condition("o"), condition("g", image="grayscale"), condition("n", caption="nouns")]
    comparisons = [{"name": x, "higher": "o", "lower": x} for x in "gn"]
    found = selecting.groups({"conditions": conditions, "comparisons": comparisons})
    assert [(group.name, group.conditions) for group in found] == [("images", ("o", "g")), ("captions", ("o", "n"))]


def test_maps_are_rows_of_several_layers():
    grid = [(a, b) for a in ("block_1", "block_2") for b in ("block_1", "block_2", "block_3")]
    table = rows(*(("map", a, b, place) for place, (a, b) in enumerate(grid)), ("one", "block_9", "length", 0.5))
    assert set(selecting.layer_maps(table)["condition"]) == {"map"} and len(selecting.layer_maps(table)) == 6
    assert selecting.layer_maps(table.iloc[:0]).empty


def test_an_experiment_follows_training_where_the_points_of_a_curve_are_other_models():
    def points(*groups, **more):
        return [condition(f"{i}", vision_group=group, language_group="core", **more) for i, group in enumerate(groups)]

    assert selecting.along_training({"id": "a", "title": "Checkpoints", "conditions": points("0", "9", series="step")})
    training_free = {"id": "b", "title": "A training-free measure"}
    assert not selecting.along_training({**training_free, "conditions": points("core")})
    assert not selecting.along_training({**training_free, "conditions": points("core", "core", series="captions")})
    apart = [*points("core", series="captions"), *points("extra", series="captions, extra")]
    assert not selecting.along_training({**training_free, "conditions": apart})
    assert not selecting.along_training({"id": "c", "title": "Both models along training"})


def test_curves_by_what_is_averaged_and_whether_it_is_shuffled():
    names = ["captions", "shuffled captions", "nouns captions", "images", "items", "captions"]
    curves = pd.DataFrame({"series": names, "k": np.arange(6)})
    found = selecting.curve_groups(curves)
    assert {word: list(own["k"]) for word, own in found.items()} == {
        "captions": [0, 1, 2, 5],
        "images": [3],
        "curves": [4],
    }
    assert selecting.counts_items(curves[curves["series"] == "items"]) and not selecting.counts_items(curves)
    assert selecting.curve_groups(curves.iloc[:0]) == {}
