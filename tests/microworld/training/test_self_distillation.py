import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.microworld.training.tiny import loss_of, scenes, task
from vla.microworld.training.networks import pixels_of
from vla.microworld.training.self_distillation import PROTOTYPES, SLOWNESS, _normal_patches, _prototypes


def test_agreement_is_with_the_other_view():
    made, parameters = task("micro-dinov2")
    memory = made.fresh_memory(parameters)
    pixels, order = made.held_out[0]
    base, (parts, _) = loss_of(made, parameters, memory, (pixels, order))
    assert float(base) == pytest.approx(float(parts["distillation"] + parts["patches"]), rel=1e-5)
    swapped, _ = loss_of(made, parameters, memory, (pixels[::-1].copy(), order[::-1].copy()))
    assert float(swapped) == pytest.approx(float(base), rel=1e-4)
    # Against views of other scenes the same network agrees less.
    mixed = np.stack([pixels[0], np.roll(pixels[1], 1, axis=0)])
    other = loss_of(made, parameters, memory, (mixed, order))[1][0]["distillation"]
    assert float(other) > float(parts["distillation"])


def test_no_gradient_reaches_the_teacher():
    made, parameters = task("micro-dinov2")
    memory = made.fresh_memory(parameters)

    def loss(teacher):
        return loss_of(made, parameters, {**memory, "teacher": teacher}, made.held_out[0])[0]

    assert all(not np.any(leaf) for leaf in jax.tree.leaves(jax.grad(loss)(memory["teacher"])))


def test_a_head_that_says_the_same_of_everything_is_as_bad_as_the_trivial_guess():
    made, parameters = task("micro-dinov2")
    flat = {**parameters, "head": {**parameters["head"], "outer": jnp.zeros_like(parameters["head"]["outer"])}}
    _, (parts, _) = loss_of(made, flat, made.fresh_memory(flat), made.held_out[0])
    assert float(parts["distillation"]) == pytest.approx(made.constant["distillation"], rel=1e-5)
    assert float(parts["prototypes_used"]) == pytest.approx(PROTOTYPES, rel=1e-3)


def test_the_teacher_follows():
    made, parameters = task("micro-dinov2")
    memory = made.fresh_memory(made.fresh())
    after = made.remember(memory, parameters, {"mean": jnp.ones(PROTOTYPES)}, jnp.float32(0))
    old, new = memory["teacher"]["head"]["inner"], parameters["head"]["inner"]
    np.testing.assert_allclose(after["teacher"]["head"]["inner"], SLOWNESS * old + (1 - SLOWNESS) * new, atol=1e-6)
    last = made.remember(memory, parameters, {"mean": jnp.ones(PROTOTYPES)}, jnp.float32(1))
    np.testing.assert_allclose(last["teacher"]["head"]["inner"], old, atol=1e-6)
    assert float(after["centre"][0]) == pytest.approx(0.1)


def test_patches_are_in_the_networks_order():
    pixels = pixels_of(scenes().pictures[:1])
    patch = pixels[0, :, 8:16, 24:32].ravel()
    expected = (patch - patch.mean()) / (patch.std() + 0.1)
    np.testing.assert_allclose(_normal_patches(jnp.asarray(pixels))[0, 8 + 3], expected, atol=1e-5)


def test_prototypes_are_cosines():
    made, parameters = task("micro-dinov2")
    cosines = _prototypes(
        parameters["head"], jnp.asarray(np.random.default_rng(0).standard_normal((5, 64)), jnp.float32)
    )
    assert cosines.shape == (5, PROTOTYPES) and float(jnp.abs(cosines).max()) <= 1
