"""The tidy table: the right score beside the right layers, in both directions."""

import numpy as np
import pytest
import xarray as xr

from vla.alignment.table import COLUMNS, DIRECTIONS, tidy

NAMES = {"experiment": "e", "condition": "original", "vision_model": "dino", "language_model": "llama"}


def result(scores, x_layers, y_layers, null=None):
    made = xr.Dataset(
        {"score": (("x_layer", "y_layer"), scores)},
        coords={"x_layer": x_layers, "y_layer": y_layers},
        attrs={"metric": "m", "n_items": 7},
    )
    return made if null is None else made.assign(null_score=(("permutation", "x_layer", "y_layer"), null))


@pytest.mark.parametrize("direction", ["vision_to_language", "symmetric"])
def test_vision_on_x(direction):
    table = tidy(result([[1, 2, 3], [4, 5, 6]], ["v0", "v1"], ["l0", "l1", "l2"]), direction=direction, **NAMES)
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table.vision_layer, table.language_layer, table.score, strict=True)) == [
        ("v0", "l0", 1),
        ("v0", "l1", 2),
        ("v0", "l2", 3),
        ("v1", "l0", 4),
        ("v1", "l1", 5),
        ("v1", "l2", 6),
    ]
    constant = table.drop(columns=["vision_layer", "language_layer", "score"]).drop_duplicates()
    assert constant.to_dict("records") == [{**NAMES, "metric": "m", "direction": direction, "n_items": 7}]


def test_vision_on_y():
    table = tidy(
        result([[1, 2], [3, 4], [5, 6]], ["l0", "l1", "l2"], ["v0", "v1"]), direction="language_to_vision", **NAMES
    )
    assert list(zip(table.vision_layer, table.language_layer, table.score, strict=True)) == [
        ("v0", "l0", 1),
        ("v0", "l1", 3),
        ("v0", "l2", 5),
        ("v1", "l0", 2),
        ("v1", "l1", 4),
        ("v1", "l2", 6),
    ]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_null_adds_its_mean_as_rows_of_its_own(direction):
    null = [[[0.0, 0.2, np.nan]], [[0.4, 0.0, 0.5]]]
    table = tidy(result([[1, 2, 3]], ["a"], ["p", "q", "r"], null), direction=direction, **NAMES)
    assert table.condition.tolist() == ["original"] * 3 + ["shuffled"] * 3
    np.testing.assert_allclose(table.score, [1, 2, 3, 0.2, 0.1, 0.5])
    other = table.language_layer if direction == "vision_to_language" else table.vision_layer
    assert other.tolist() == ["p", "q", "r"] * 2


def test_undefined_scores_stay_undefined():
    table = tidy(result([[np.nan, 2.0]], ["a"], ["p", "q"]), direction="symmetric", **NAMES)
    assert np.isnan(table.score[0]) and table.score[1] == 2.0


def test_an_unknown_direction_is_refused():
    with pytest.raises(ValueError, match=r"direction='forward'; expected one of \['language_to_vision', 'symmetric'"):
        tidy(result([[1.0]], ["a"], ["p"]), direction="forward", **NAMES)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_stands_beside_a_score_gets_columns(direction):
    made = result([[1, 2]], ["a"], ["p", "q"], [[[0.0, 0.2]]])
    made = made.assign(ci_low=(("x_layer", "y_layer"), [[0.5, 1.5]]), reliability=0.9)
    table = tidy(made, direction=direction, **NAMES)
    assert tuple(table.columns) == (*COLUMNS, "ci_low", "reliability")
    np.testing.assert_array_equal(table.ci_low, [0.5, 1.5, np.nan, np.nan])
    np.testing.assert_array_equal(table.reliability, [0.9, 0.9, np.nan, np.nan])
