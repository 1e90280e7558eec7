"""The first step of the optimizer: the polar factor by SVD for matrices of blocks, Adam by hand for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from optax.contrib import MuonDimensionNumbers

from examples.microworld_training import Settings
from examples.microworld_training.loop import make_optimizer, matrices_of_blocks

RATE, DECAY = 0.01, 0.5


@pytest.fixture(scope="module")
def stepped():
    """Parameters, gradients, and the first update of a stack of two blocks and a head."""
    draws = np.random.default_rng(0)

    def drawn(*shape):
        return jnp.asarray(draws.standard_normal(shape), jnp.float32)

    def tree():
        weight, bias = drawn(2, 8, 6), drawn(2, 8)
        return {
            "network": nnx.State({"blocks": {"weight": nnx.Param(weight), "bias": nnx.Param(bias)}}),
            "head": drawn(3, 5),
        }

    parameters, gradients = tree(), tree()
    settings = Settings("micro-vit", learning_rate=RATE, warmup=0, weight_decay=DECAY)
    optimizer = make_optimizer(settings)
    updates, _ = jax.jit(optimizer.update)(gradients, optimizer.init(parameters), parameters)
    return parameters, gradients, updates


def test_matrices_of_blocks_step_along_the_nearest_orthogonal_matrix(stepped):
    parameters, gradients, updates = (tree["network"]["blocks"]["weight"][...] for tree in stepped)
    for weight, gradient, update in zip(parameters, gradients, updates, strict=True):
        U, _, Vt = np.linalg.svd(np.asarray(gradient), full_matrices=False)
        step = np.asarray(-update / RATE - DECAY * weight)
        cosine = (step * (U @ Vt)).sum() / np.linalg.norm(step) / np.linalg.norm(U @ Vt)
        assert cosine > 0.97
        # An orthogonal 8 by 6 matrix has a root mean square of 8 ** -0.5; Newton-Schulz comes near it.
        assert np.sqrt(np.square(step).mean()) == pytest.approx(0.2, rel=0.25)


def test_all_else_is_adams_without_decay(stepped):
    _, gradients, updates = stepped
    for gradient, update in (
        (gradients["head"], updates["head"]),
        *((tree["network"]["blocks"]["bias"][...] for tree in stepped[1:]),),
    ):
        # Nesterov's look ahead: the gradient, and 0.9 of the momentum after it, corrected as after two steps.
        np.testing.assert_allclose(update, -RATE * (1 + 0.9 * 0.1 / (1 - 0.9**2)) * np.sign(gradient), rtol=1e-3)


def test_only_matrices_of_blocks_are_marked(stepped):
    marked = matrices_of_blocks(stepped[0])
    (mark,) = jax.tree.leaves(marked, is_leaf=lambda leaf: isinstance(leaf, MuonDimensionNumbers))
    assert (mark.reduction_axis, mark.output_axis) == (2, 1)
