"""Which layers are computed, and what is kept of them."""

import jax
import jax.numpy as jnp
import numpy as np

from vla.models.layers import layer_names, read_layers


def read(layers: tuple[str, ...], blocks: np.ndarray) -> jax.Array:
    """A network whose block i multiplies by blocks[i]."""
    hidden = jnp.ones((2, 3, 4))
    return read_layers(
        hidden,
        jnp.asarray(blocks, jnp.float32),
        len(blocks),
        lambda block, hidden: hidden * block,
        lambda hidden: -hidden,
        lambda hidden: hidden.sum(1),
        layers,
    )


def test_names():
    assert layer_names(2) == ("embed", "block_1", "block_2", "final_norm")


def test_layers_come_in_the_order_asked_for():
    got = read(layer_names(3), np.array([2.0, 3.0, 5.0]))
    assert got.shape == (5, 2, 4)
    assert np.array_equal(got[:, 0, 0], [3, 6, 18, 90, -90])
    assert np.array_equal(read(("block_2", "final_norm"), np.array([2.0, 3.0, 5.0]))[:, 0, 0], [18, -90])
    assert np.array_equal(read(("embed",), np.array([2.0]))[:, 0, 0], [3])


def scan_lengths(layers: tuple[str, ...]) -> list[int]:
    program = jax.make_jaxpr(lambda blocks: read(layers, blocks))(jnp.ones(6))
    return [equation.params["length"] for equation in program.eqns if equation.primitive.name == "scan"]


def test_blocks_above_the_last_layer_are_not_computed():
    assert scan_lengths(("embed", "block_2")) == [2]
    assert scan_lengths(("block_6",)) == [6]
    assert scan_lengths(("final_norm",)) == [6]
    assert scan_lengths(("embed",)) == [0]


def test_no_array_holds_all_tokens_of_all_layers():
    program = jax.make_jaxpr(lambda blocks: read(layer_names(6), blocks))(jnp.ones(6))
    shapes = {variable.aval.shape for equation in program.eqns for variable in equation.outvars}
    # [L, B, D] leaves the scan, [L, B, T, D] is nowhere
    assert (6, 2, 4) in shapes
    assert not [shape for shape in shapes if len(shape) == 4]


def test_less_may_be_wanted_of_the_last_block():
    """A last step that drops all tokens but one; the pool looks at no other."""
    hidden, seen = jnp.ones((2, 3, 4)).at[:, 0].set(7.0), []

    def last(block, hidden):
        seen.append(hidden.shape)
        return (hidden * block)[:, :1]

    def read(layers):
        blocks = jnp.asarray([2.0, 3.0, 5.0])
        return read_layers(hidden, blocks, 3, lambda b, x: x * b, lambda x: -x, lambda x: x[:, 0], layers, last)

    assert np.array_equal(read(layer_names(3))[:, 0, 0], [7, 14, 42, 210, -210])
    assert np.array_equal(read(("block_2",))[:, 0, 0], [42])
    assert np.array_equal(read(("embed",))[:, 0, 0], [7])
    assert seen == [(2, 3, 4)] * 2
