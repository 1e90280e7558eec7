"""Scores of several fold seeds are read as one, also where a seed draws other items."""

import numpy as np
import pandas as pd

from vla.report.run_folder import over_seeds

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


def test_one_seed_stays_as_it_is_and_lacks_no_baseline():
    found = over_seeds(pd.DataFrame([{**ROW, "seed": 42, "score": 0.2}]))
    assert found["score"].tolist() == [0.2] and found["null_mean"].isna().all()
