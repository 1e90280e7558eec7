import numpy as np
import pandas as pd
import pytest

from vla.report import heat_map
from vla.report.summary import summarise


def _table(scores, condition="original"):
    rows = [
        {
            "experiment": "layer_map", "condition": condition, "vision_model": "seer", "language_model": "teller",
            "metric": "cka", "direction": "symmetric", "vision_layer": v, "language_layer": t, "n_items": 12,
            "score": scores[i][j],
        }
        for i, v in enumerate(["embed", "block_1", "block_10"])
        for j, t in enumerate(["embed", "block_1"])
    ]  # fmt: skip
    return pd.DataFrame(rows)


SCORES = [[np.nan, np.nan], [0.1, 0.2], [0.4, 0.3]]


def test_cells_stand_where_their_layers_are():
    figure = heat_map.draw(pd.concat([_table(SCORES), _table(np.zeros((3, 2)), "shuffled")]))
    original, shuffled = figure.axes[:2]
    assert [tick.get_text() for tick in original.get_yticklabels()] == ["embed", "block_1", "block_10"]
    assert [tick.get_text() for tick in original.get_xticklabels()] == ["embed", "block_1"]
    np.testing.assert_array_equal(original.images[0].get_array().filled(np.nan), SCORES)
    assert original.images[0].origin == "lower"
    assert original.texts[0].get_text() == "0.400" and original.texts[0].xy == (0, 2)
    assert original.images[0].get_clim() == shuffled.images[0].get_clim() == (0.0, 0.4)
    assert (original.get_title(), shuffled.get_title()) == ("original", "shuffled")


def test_negative_scores_extend_the_scale_and_empty_maps_are_drawn():
    assert heat_map.draw(_table([[-0.5, 0], [0, 0], [0, 0.1]])).axes[0].images[0].get_clim() == (-0.5, 0.1)
    assert len(heat_map.draw(_table(np.full((3, 2), np.nan))).axes[0].texts) == 0


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_files_have_the_same_bytes_every_time(tmp_path, suffix):
    for name in ("a", "b"):
        heat_map.save(heat_map.draw(_table(SCORES)), tmp_path / (name + suffix))
    assert (tmp_path / ("a" + suffix)).read_bytes() == (tmp_path / ("b" + suffix)).read_bytes()


def test_summary_names_the_best_pair_and_leaves_out_what_has_no_score():
    summary = summarise(pd.concat([_table(SCORES), _table(np.full((3, 2), np.nan), "shuffled")]))
    first, second = summary.to_dict("records")
    assert (first["layer_pairs"], first["best"], first["n_items"]) == (4, 0.4, 12)
    assert first["mean"] == pytest.approx(0.25)
    assert (first["best_vision_layer"], first["best_language_layer"]) == ("block_10", "embed")
    assert second["layer_pairs"] == 0 and np.isnan(second["mean"]) and second["best_vision_layer"] == ""


def test_summary_has_what_stands_beside_the_best_pair():
    table = _table(SCORES).assign(reliability=0.8)
    table["ci_low"], table["p_max"] = table["score"] - 0.1, 1 - table["score"]
    (row,) = summarise(table).to_dict("records")
    assert (row["best_ci_low"], row["best_p_max"], row["reliability"]) == pytest.approx((0.3, 0.6, 0.8))
    assert "best_ci_high" not in row


def test_of_a_distance_the_smallest_is_marked():
    """In the map, in words and in the summary; where all else is equal, brighter is better."""
    rows = pd.DataFrame(
        {"vision_layer": ["a", "a", "b", "b"], "language_layer": ["c", "d", "c", "d"], "score": [0.9, 0.8, 0.2, 0.7],
         "condition": "original", "vision_model": "v", "language_model": "l", "metric": "shape_distance",
         "direction": "symmetric", "n_items": 9}
    )  # fmt: skip
    figure = heat_map.draw(rows)
    ((x,), (y,)) = figure.axes[0].lines[0].get_data()
    assert (x, y) == (0, 1) and figure.axes[0].texts[0].get_text() == "0.200"
    assert figure.axes[0].images[0].get_cmap().name == "viridis_r"
    (row,) = summarise(rows).to_dict("records")
    assert (row["best"], row["best_vision_layer"], row["best_language_layer"]) == (0.2, "b", "c")
    (row,) = summarise(rows.assign(metric="procrustes")).to_dict("records")
    assert (row["best"], row["best_vision_layer"]) == (0.9, "a")
