"""Attention in parts is attention as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import children
from vla.models import attention
from vla.models.attention import attend, attend_in_parts

RNG = np.random.default_rng(0)
T, C = 9, 8


def given(B: int, H: int, K: int) -> tuple[tuple[jax.Array, ...], jax.Array, jax.Array]:
    """Query, key, value; what may be seen, which differs from row to row; distances."""
    query, key, value = (jnp.asarray(RNG.normal(size=(B, T, n, C)), jnp.float32) for n in (H, K, K))
    ends = jnp.asarray(RNG.integers(1, T + 1, (B, 1, T)))
    places = jnp.arange(T)
    allowed = (places[:, None] >= places) & (places[:, None] < places + ends)
    return (query, key, value), allowed, jnp.broadcast_to(places[:, None] - places, (B, T, T))


def products(function, *arguments) -> int:
    # A new function, or an earlier trace of it would be taken.
    return str(jax.make_jaxpr(lambda *given: function(*given))(*arguments)).count("dot_general")


# Parts by row and head or, for groups and distances, by row; in a loop if there are many rows.
@pytest.mark.parametrize(
    "B, H, K, kind",
    [
        (1, 12, 12, "masked"),
        (4, 6, 6, "plain"),
        (3, 7, 7, "masked"),
        (3, 7, 7, "distances"),
        (8, 8, 2, "masked"),
        (11, 4, 4, "masked"),
        (11, 4, 4, "distances"),
        (16, 6, 3, "plain"),
    ],
)
def test_parts_give_what_the_whole_gives(B, H, K, kind, monkeypatch):
    monkeypatch.setattr(attention, "_LEAST_MULTIPLICATIONS", 0)
    states, allowed, distances = given(B, H, K)
    masks = (None if kind == "plain" else allowed,)
    options = {"scale": jnp.float32(0.3), "distances": distances if kind == "distances" else None, "cap": 2.0}
    whole = attend(*states, *masks, **options)
    parts = jax.jit(lambda states, *masks: attend_in_parts(*states, *masks, **options))(states, *masks)
    assert parts.shape == (B, T, H * C)
    assert np.abs(parts - whole).max() < 1e-6


def test_rows_and_heads_are_products_of_their_own(monkeypatch):
    states, allowed, distances = given(4, 12, 12)
    assert products(attend_in_parts, *states) == 2, "too small to be worthwhile"
    monkeypatch.setattr(attention, "_LEAST_MULTIPLICATIONS", T * T * 12 * C)
    assert products(attend_in_parts, *states) == 2 * 4 * 3
    assert products(lambda *a: attend_in_parts(*a, distances=distances), *states) == 2 * 4
    grouped, _, _ = given(4, 12, 3)
    assert products(attend_in_parts, *grouped) == 2 * 4


def test_many_rows_are_no_larger_program(monkeypatch):
    monkeypatch.setattr(attention, "_LEAST_MULTIPLICATIONS", 0)
    assert products(attend_in_parts, *given(64, 4, 4)[0]) == products(attend_in_parts, *given(8, 4, 4)[0]) == 16


def test_several_devices_take_the_whole():
    program = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp
from vla.models import attention
attention._LEAST_MULTIPLICATIONS = 0
states = (jnp.ones((4, 9, 4, 8)),) * 3
assert str(jax.make_jaxpr(attention.attend_in_parts)(*states)).count("dot_general") == 2
"""
    children.run(program)
