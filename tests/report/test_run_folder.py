"""Scores of several fold seeds are read as one, also where a seed draws other items."""

import json

import numpy as np
import pandas as pd

from vla.report import run_folder
from vla.report.run_folder import over_seeds, read

ROW = {"experiment": "N sweep", "condition": "20 items", "vision_model": "seer", "language_model": "teller",
       "metric": "cka", "direction": "symmetric", "vision_layer": "a", "language_layer": "b", 
       "n_items": 20}  # fmt: skip


def test_seeds_are_averaged_whatever_items_they_drew():
    rows = [
        {**ROW, "condition": condition, "seed": seed, "score": score, "null_mean": np.nan, "p_value": 0.1 * seed,
         "vision_key": f"v{seed}", "language_key": f"t{seed}"}
        for condition, scores in (("20 items", (0.2, 0.4)), ("40 items", (0.5, 0.7)))
        for seed, score in zip((1, 2), scores, strict=True)
    ]  # fmt: skip
    found = over_seeds(pd.DataFrame(rows))
    np.testing.assert_allclose(found["score"], [0.3, 0.6])
    np.testing.assert_allclose(found["p_value"], [0.15, 0.15])
    assert found["null_mean"].isna().all() and list(found["vision_key"]) == ["v1", "v1"] and "seed" not in found


def test_names_that_look_like_numbers_or_nothing_stay_names(tmp_path):
    names = {"experiment": "1", "vision_model": "1000", "language_model": "007"}
    (tmp_path / "run.json").write_text(json.dumps({"experiments": [{"id": "1", "status": "run"}]}))
    curve = {**names, "series": "None", "metric": "cka", "direction": "symmetric"}
    curves = pd.DataFrame([{**curve, "k": k, "score": k / 10} for k in (1, 2, 3, 4)])
    curves.to_csv(tmp_path / "curves.csv", index=False)
    tested = {"experiment": "1", "comparison": "NA", "higher": "30", "lower": "nan", "metric": "cka", "note": ""}
    tested |= {"direction": "symmetric", "n_pairs": 2, "t": 1.5, "df": 1, "p": 0.4, "q": np.nan}
    pd.DataFrame([tested]).to_csv(tmp_path / "statistics.csv", index=False)
    pd.DataFrame([{**names, "direction": "symmetric", "rank": 1, "r": 0.5, "effective_dimension": 1.0,
                   "target_dimension": 1.0, "cumulative_explained": 0.1}]).to_csv(
        tmp_path / "spectrum.csv", index=False)  # fmt: skip
    run = read(tmp_path)
    (row,) = run.of("statistics", "1").to_dict("records")
    assert [row[name] for name in ("comparison", "higher", "lower", "note")] == ["NA", "30", "nan", ""]
    assert row["t"] == 1.5 and np.isnan(row["q"])
    for frame in (run.of("curves", "1"), run.extras["spectrum.csv"].assign(experiment="1")):
        assert {name: frame[name].iloc[0] for name in names} == names
    assert run.curves["k"].tolist() == [1, 2, 3, 4] and set(run.curves["series"]) == {"None"}
    assert run.of("plateaus", "1")["series"].tolist() == ["None"]


def test_one_seed_stays_as_it_is_and_lacks_no_baseline():
    found = over_seeds(pd.DataFrame([{**ROW, "seed": 42, "score": 0.2}]))
    assert found["score"].tolist() == [0.2] and found["null_mean"].isna().all()


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
    found = run_folder.groups({"conditions": conditions, "comparisons": comparisons})
    assert found == [
        run_folder.Group("i", ("o", "g", "t"), ("g", "t")), run_folder.Group("c", ("c", "n"), ("n",)),
    ]  # fmt: skip


def test_conditions_without_a_part_are_told_apart_by_the_side_that_changes():
    conditions = [condition("o"), condition("g", image="grayscale"), condition("n", caption="nouns")]
    comparisons = [{"name": x, "higher": "o", "lower": x} for x in "gn"]
    found = run_folder.groups({"conditions": conditions, "comparisons": comparisons})
    assert [(group.name, group.conditions) for group in found] == [("images", ("o", "g")), ("captions", ("o", "n"))]


def test_maps_are_rows_of_several_layers():
    grid = [(a, b) for a in ("block_1", "block_2") for b in ("block_1", "block_2", "block_3")]
    table = rows(*(("map", a, b, place) for place, (a, b) in enumerate(grid)), ("one", "block_9", "length", 0.5))
    assert set(run_folder.layer_maps(table)["condition"]) == {"map"} and len(run_folder.layer_maps(table)) == 6
    assert run_folder.layer_maps(table.iloc[:0]).empty


def test_an_experiment_follows_training_where_the_points_of_a_curve_are_other_models():
    def points(*groups, **more):
        return [condition(f"{i}", vision_group=group, language_group="core", **more) for i, group in enumerate(groups)]

    assert run_folder.along_training({"id": "a", "title": "Checkpoints", "conditions": points("0", "9", series="step")})
    training_free = {"id": "b", "title": "A training-free measure"}
    assert not run_folder.along_training({**training_free, "conditions": points("core")})
    assert not run_folder.along_training({**training_free, "conditions": points("core", "core", series="captions")})
    apart = [*points("core", series="captions"), *points("extra", series="captions, extra")]
    assert not run_folder.along_training({**training_free, "conditions": apart})
    assert not run_folder.along_training({"id": "c", "title": "Both models along training"})


def test_curves_by_what_is_averaged_and_whether_it_is_shuffled():
    names = ["captions", "shuffled captions", "nouns captions", "images", "items", "captions"]
    curves = pd.DataFrame({"series": names, "k": np.arange(6)})
    found = run_folder.curve_groups(curves)
    assert {word: list(own["k"]) for word, own in found.items()} == {
        "captions": [0, 1, 2, 5],
        "images": [3],
        "curves": [4],
    }
    assert run_folder.counts_items(curves[curves["series"] == "items"]) and not run_folder.counts_items(curves)
    assert run_folder.curve_groups(curves.iloc[:0]) == {}
