"""Rows that families build their tables of."""

from pathlib import Path

import numpy as np
import pytest

from vla.models.tensor import Row, Tensor, layer_norm, linear


def test_a_linear_map_has_a_bias_or_none():
    weight, bias = linear("h.{}.fc", "blocks.up", True, part=(1, 3), heads=2)
    assert weight == Row("h.{}.fc.weight", "blocks.up.weight", (1, 3), heads=2)
    assert bias == Row("h.{}.fc.bias", "blocks.up.bias", (1, 3), heads=2)
    assert linear("h.{}.fc", "blocks.up", False) == (Row("h.{}.fc.weight", "blocks.up.weight"),)


def test_only_the_weight_of_a_transposed_map_is_transposed():
    weight, bias = linear("fc", "up", True, transposed=True)
    assert weight.transposed and not bias.transposed


def test_a_norm_is_a_scale_and_a_bias():
    assert layer_norm("ln", "norm") == (Row("ln.weight", "norm.scale"), Row("ln.bias", "norm.bias"))


RNG = np.random.default_rng(0)


class Stored:
    """Tensors in memory that count what is read of them."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.read = 0
        self.tensors = [Tensor(Path("x"), array.shape, lambda index, a=array: self._part(a, index)) for array in arrays]

    def _part(self, array: np.ndarray, index: tuple[slice, ...]) -> np.ndarray:
        self.read += array[index].size
        return array[index]


def everything(array: np.ndarray) -> tuple[slice, ...]:
    return (slice(None),) * array.ndim


H, C, D = 3, 4, 5
PER_HEAD = RNG.normal(size=(H, 3, C, D))
SIDE_BY_SIDE = RNG.normal(size=(12 + 4 + 4, D))
CONV = RNG.normal(size=(D, 3 * 6))
EXPERTS = RNG.normal(size=(4, 2 * 6, D))
APART = [RNG.normal(size=(6, D)) for _ in range(4)]

# The row, what is stored, the parameter.
LAYOUTS = {
    "as it is": (Row("x", "y"), [SIDE_BY_SIDE], SIDE_BY_SIDE),
    "a leading one": (Row("x", "y", ones=1), [SIDE_BY_SIDE[None]], SIDE_BY_SIDE),
    "the second half": (Row("x", "y", (1, 2)), [SIDE_BY_SIDE], SIDE_BY_SIDE[10:]),
    "keys head by head": (
        Row("x", "y", (1, 3), heads=H),
        [PER_HEAD.reshape(-1, D)],
        PER_HEAD[:, 1].reshape(-1, D),
    ),
    "biases of values head by head": (
        Row("x", "y", (2, 3), heads=H),
        [PER_HEAD[..., 0].reshape(-1)],
        PER_HEAD[:, 2, :, 0].reshape(-1),
    ),
    "keys of unequal parts": (Row("x", "y", (1, 3), shares=(3, 1, 1)), [SIDE_BY_SIDE], SIDE_BY_SIDE[12:16]),
    "queries of unequal parts": (Row("x", "y", (0, 3), shares=(3, 1, 1)), [SIDE_BY_SIDE], SIDE_BY_SIDE[:12]),
    "the other way round": (Row("x", "y", transposed=True), [CONV], CONV.T),
    "a part of the other way round": (Row("x", "y", (2, 3), transposed=True), [CONV], CONV[:, 12:].T),
    "half of every expert": (Row("x", "y", (1, 2), axis=1), [EXPERTS], EXPERTS[:, 6:]),
    "an expert per tensor": (Row("x.{expert}", "y", experts=4), APART, np.stack(APART)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_parameter_is_what_was_cut_by_hand(layout):
    row, stored, parameter = LAYOUTS[layout]
    there = Stored(*stored)
    assert np.array_equal(row.read(there.tensors, everything(parameter)), parameter)
    assert {row.shape_in_file(parameter.shape)} == {array.shape for array in stored}
    assert there.read == parameter.size


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_part_is_read_alone(layout):
    """Every stretch of the first axis, with half of the last one: what devices that share the weights ask for."""
    row, stored, parameter = LAYOUTS[layout]
    for start in range(len(parameter)):
        for stop in range(start + 1, len(parameter) + 1):
            index: list[slice] = [slice(start, stop), *everything(parameter)[1:]]
            if parameter.ndim > 1:
                index[-1] = slice(1, 3)
            there = Stored(*stored)
            wanted = parameter[tuple(index)]
            assert np.array_equal(row.read(there.tensors, tuple(index)), wanted)
            assert there.read == wanted.size


def test_names():
    assert Row("layers.{}.x", "y").names(3) == ("layers.3.x",)
    assert Row("layers.{}.x.{expert}", "y", experts=3).names(1) == ("layers.1.x.0", "layers.1.x.1", "layers.1.x.2")
