"""Arrays come back as they were put, wherever they were kept."""

import ml_dtypes
import numpy as np
import pytest

from vla.models import shelf
from vla.models.shelf import Shelf


@pytest.mark.parametrize("bound", [0, 200, 10**6])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_what_was_put_last_comes_back(bound, dtype, tmp_path):
    kept = Shelf(bound, str(tmp_path))
    arrays = [np.random.default_rng(i).standard_normal((2, 3 + i, 4)).astype(dtype) for i in range(5)]
    for _ in range(2):
        for i, array in enumerate(arrays):
            kept.put(i, array)
        arrays = [array[:, ::-1] for array in arrays]
    for i, array in enumerate(arrays):
        back = kept.get(i)
        assert back.dtype == dtype and np.array_equal(back, array[:, ::-1])
    kept.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_where_and_what_to_do(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf.os, "pwrite", full)
    with pytest.raises(ValueError, match=r"put aside in .*No space left.*set TMPDIR"):
        Shelf(0, str(tmp_path)).put(0, np.ones(3))
