import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import log_softmax

from examples.microworld_training.networks import pixels_of
from examples.microworld_training.self_distillation import (
    KOLEO_WEIGHT,
    PROTOTYPES,
    TEACHER_DECAY,
    VISIBLE,
    _normal_patches,
    _prototypes,
    koleo,
    sinkhorn,
)
from tests.examples.microworld_training.tiny import loss_of, scenes, task


def test_agreement_is_with_the_other_view():
    made, parameters = task("micro-dinov2")
    memory = made.initial_memory(parameters)
    pixels, order = made.held_out[0]
    base, parts = loss_of(made, parameters, memory, (pixels, order))
    sum_of_parts = parts["distillation"] + parts["patches"] + KOLEO_WEIGHT * parts["apart"]
    assert float(base) == pytest.approx(float(sum_of_parts), rel=1e-5)
    # Against views of other scenes the same network agrees less.
    mixed = np.stack([np.roll(pixels[0], 1, axis=0), pixels[1]])
    other = loss_of(made, parameters, memory, (mixed, order))[1]["distillation"]
    assert float(other) > float(parts["distillation"])


def test_the_student_sees_only_some_patches():
    made, parameters = task("micro-dinov2")
    memory = made.initial_memory(parameters)
    pixels, order = made.held_out[0]
    _, before = loss_of(made, parameters, memory, (pixels, order))

    def painted(patch):
        changed = pixels.copy()
        for i, number in enumerate(order[:, patch]):
            row, column = divmod(int(number), 8)
            changed[1, i, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 1
        return loss_of(made, parameters, memory, (changed, order))[1]["distillation"]

    assert float(painted(VISIBLE)) == float(before["distillation"])
    assert float(painted(VISIBLE - 1)) != float(before["distillation"])


def test_no_gradient_reaches_the_teacher():
    made, parameters = task("micro-dinov2")
    memory, batch = made.initial_memory(parameters), jax.tree.map(jnp.asarray, made.held_out[0])

    def loss(teacher):
        return made.loss(parameters, {**memory, "teacher": teacher}, batch)[0]

    # The gradient alone is compiled: where it is zero by construction, there is nothing to compile.
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(memory["teacher"])))


def test_a_head_that_says_the_same_of_everything_is_as_bad_as_the_trivial_guess():
    made, parameters = task("micro-dinov2")
    flat = {**parameters, "head": {**parameters["head"], "outer": jnp.zeros_like(parameters["head"]["outer"])}}
    _, parts = loss_of(made, flat, made.initial_memory(flat), made.held_out[0])
    assert float(parts["distillation"]) == pytest.approx(made.trivial["distillation"], rel=1e-5)
    assert float(parts["prototypes_used"]) == pytest.approx(PROTOTYPES, rel=1e-3)


def test_the_teacher_follows():
    made, parameters = task("micro-dinov2")
    memory = made.initial_memory(made.initial_parameters())
    after = made.update_memory(memory, parameters, jnp.float32(0))
    old, new = memory["teacher"]["head"]["inner"], parameters["head"]["inner"]
    np.testing.assert_allclose(
        after["teacher"]["head"]["inner"], TEACHER_DECAY * old + (1 - TEACHER_DECAY) * new, atol=1e-6
    )
    last = made.update_memory(memory, parameters, jnp.float32(1))
    np.testing.assert_allclose(last["teacher"]["head"]["inner"], old, atol=1e-6)


def test_a_prototype_that_all_would_choose_gains_nothing():
    draws = np.random.default_rng(3)
    logits = draws.standard_normal((12, 5)).astype(np.float32)
    shares = np.asarray(sinkhorn(jnp.asarray(logits)))
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    uneven, evened = (np.ptp(each.sum(0)) for each in (np.exp(log_softmax(logits, 1)), shares))
    assert evened < uneven / 5
    favoured = logits + np.array([9, 0, 0, 0, 0], np.float32)
    np.testing.assert_allclose(sinkhorn(jnp.asarray(favoured)), shares, rtol=1e-4)


def test_apart_is_the_distance_to_the_nearest():
    tokens = np.random.default_rng(4).standard_normal((9, 6))
    distances = cdist(*[tokens / np.linalg.norm(tokens, axis=1, keepdims=True)] * 2) + 9 * np.eye(9)
    expected = -np.log(distances.min(1)).mean()
    assert float(koleo(jnp.asarray(tokens, jnp.float32))) == pytest.approx(expected, rel=1e-4)


def test_patches_are_in_the_networks_order():
    pixels = pixels_of(scenes().images[:1])
    patch = pixels[0, :, 8:16, 24:32].ravel()
    expected = (patch - patch.mean()) / (patch.std() + 0.1)
    np.testing.assert_allclose(_normal_patches(jnp.asarray(pixels))[0, 8 + 3], expected, atol=1e-5)


def test_prototypes_are_cosines():
    made, parameters = task("micro-dinov2")
    cosines = _prototypes(
        parameters["head"], jnp.asarray(np.random.default_rng(0).standard_normal((5, 64)), jnp.float32)
    )
    assert cosines.shape == (5, PROTOTYPES) and float(jnp.abs(cosines).max()) <= 1
