"""Scores of several fold seeds are read as one, also where a seed draws other items."""

import json

import numpy as np
import pandas as pd

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
