"""The documented columns of the table of scores."""

import re

import pandas as pd
import pytest

from vla.alignment.score import score
from vla.alignment.table import COLUMNS, NAMES, OF_MAP, OF_PAIRS, REQUIRED, described, typed


def test_every_column_is_described_once():
    assert len(set(NAMES)) == len(NAMES) and set(OF_PAIRS) | set(OF_MAP) <= set(NAMES)
    for column in COLUMNS:
        assert column.meaning.endswith(".") and column.dtype in ("text", "integer", "number")
    lines = described().splitlines()
    assert [re.match(r"\| `(\w+)` \| (\w+) ", line).groups() for line in lines[2:]] == [
        (column.name, column.dtype) for column in COLUMNS
    ]
    assert "| `p_value` | number | from 0 to 1 | Share of orders, with the true one" in described()
    # Public from the first release: programs of users read these.
    assert REQUIRED == (
        "experiment", "condition", "vision_model", "language_model", "metric", "direction", "vision_layer",
        "language_layer", "n_items", "score",
    )  # fmt: skip


def test_all_that_a_result_has_of_every_pair_of_layers_is_a_column():
    values = [[[float((3 * i * j) % 7 + layer) for j in range(3)] for i in range(12)] for layer in range(2)]
    found = score(values, values[::-1], null=2, bootstrap=2, halves=2, outer_folds=2)
    of_pairs = {str(name) for name, array in found.items() if array.dims == ("x_layer", "y_layer")}
    of_maps = {str(name) for name, array in found.items() if not array.dims}
    assert of_pairs - {"undefined"} <= set(OF_PAIRS) and of_maps == set(OF_MAP)


def test_a_table_without_rows_has_the_columns_and_dtypes():
    empty = typed(pd.DataFrame({name: [] for name in reversed(NAMES)}))
    assert tuple(empty) == NAMES and empty["n_items"].dtype == "int64" and empty["score"].dtype == "float64"
    with pytest.raises(KeyError, match="score"):
        typed(empty.drop(columns="score"))
