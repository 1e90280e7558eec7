"""Resized position grids against torch's bicubic interpolation."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla.models.vision_encoder import resize_grid, resize_matrix


def torch_resize(grid: np.ndarray, rows: int, columns: int, antialias: bool) -> np.ndarray:
    if columns == 1 and rows > 1:
        # torch 2.13 repeats the first row where it antialiases to a single column, but not to a single row
        return _torch(grid.swapaxes(0, 1), columns, rows, antialias).swapaxes(0, 1)
    return _torch(grid, rows, columns, antialias)


def _torch(grid: np.ndarray, rows: int, columns: int, antialias: bool) -> np.ndarray:
    # in float64: torch's float32 rounds the places to read at
    image = torch.from_numpy(grid).double().permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        image, size=(rows, columns), mode="bicubic", align_corners=False, antialias=antialias
    )
    return resized[0].permute(1, 2, 0).numpy()


@settings(deadline=None, max_examples=40)
@given(side=st.integers(1, 40), rows=st.integers(1, 60), columns=st.integers(1, 60), antialias=st.booleans())
def test_resizing_is_torchs(side, rows, columns, antialias):
    grid = np.random.default_rng(0).normal(size=(side, side, 2)).astype(np.float32)
    theirs = torch_resize(grid, rows, columns, antialias)
    down, across = resize_matrix(side, rows, antialias), resize_matrix(side, columns, antialias)
    assert np.abs(np.einsum("hg,wk,gkd->hwd", down, across, grid) - theirs).max() < 2e-6


@pytest.mark.parametrize("rows, columns", [(3, 1), (1, 3), (1, 1)])
@pytest.mark.parametrize("antialias", [True, False])
def test_a_single_row_or_column(rows, columns, antialias):
    grid = np.random.default_rng(0).normal(size=(2, 2, 2)).astype(np.float32)
    theirs = torch_resize(grid, rows, columns, antialias)
    assert np.abs(np.asarray(resize_grid(jnp.asarray(grid), rows, columns, antialias)) - theirs).max() < 2e-6


@pytest.mark.parametrize("antialias", [True, False])
def test_rows_and_columns_are_not_swapped(antialias):
    grid = np.random.default_rng(0).normal(size=(9, 9, 2)).astype(np.float32)
    theirs = torch_resize(grid, 4, 13, antialias)
    assert np.abs(np.asarray(resize_grid(jnp.asarray(grid), 4, 13, antialias)) - theirs).max() < 2e-6


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("side, wanted", [(37, 16), (16, 37), (14, 24), (5, 1)])
def test_a_constant_stays_constant(side, wanted, antialias):
    assert np.allclose(resize_matrix(side, wanted, antialias).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("antialias", [True, False])
def test_the_same_size_is_the_same_grid(antialias):
    grid = np.random.default_rng(0).normal(size=(5, 5, 3)).astype(np.float32)
    assert np.array_equal(resize_grid(jnp.asarray(grid), 5, 5, antialias), grid)
    assert np.array_equal(resize_matrix(5, 5, antialias), np.eye(5, dtype=np.float32))
