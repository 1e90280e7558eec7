"""The dtypes of files, against safetensors' own names of them."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from vla.models.checkpoint import open_tensors
from vla.models.tensor import FLOATS


@pytest.mark.parametrize("name", FLOATS)
def test_a_dtype_has_the_name_that_safetensors_writes(name, tmp_path):
    file = tmp_path / "model.safetensors"
    values = np.arange(6).reshape(2, 3).astype(FLOATS[name])
    save_file({"x": values}, file)
    raw = file.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["x"]["dtype"] == name
    found = open_tensors(tmp_path)["x"]
    assert (found.dtype, found.shape, found.file) == (name, (2, 3), file)
    part = found.read((slice(1, 2), slice(0, 3, 2)))
    assert part.dtype == values.dtype and np.array_equal(part, values[1:2, ::2])
