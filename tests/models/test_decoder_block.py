"""One block against Hugging Face's, and what all blocks share about a batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.language_checkpoints import write_family
from tests.models.test_decoder_config import CONFIG
from vla.models.batch import padded_mask
from vla.models.decoder import context_of
from vla.models.loading import load_model
from vla.models.network_config import Rotary

POSITIONS, MASK = padded_mask(jnp.ones((1, 5), bool))


@pytest.mark.parametrize("kind, number", [("llama", 1), ("gemma2", 1), ("gemma2", 2), ("olmo2", 1), ("gpt_neox", 1)])
def test_a_block_is_hugging_faces(kind, number, tmp_path):
    twin = write_family(tmp_path, kind)
    tokens = torch.tensor([[1, 5, 9, 4, 20, 3, 11, 7, 7, 13]])
    seen = {}
    path = {"gpt_neox": "gpt_neox.layers"}.get(kind, "model.layers")

    def keep(module, args, kwargs, output):
        seen["before"] = args[0] if args else kwargs["hidden_states"]
        seen["after"] = output if isinstance(output, torch.Tensor) else output[0]

    twin.get_submodule(f"{path}.{number}").register_forward_hook(keep, with_kwargs=True)
    with torch.no_grad():
        twin(tokens)
    model = load_model(tmp_path, stream=True)
    block = model._weights.block(number)
    positions, mask = padded_mask(jnp.ones((1, 10), bool))
    before, after = (seen[name].numpy().reshape(1, 10, -1) for name in ("before", "after"))

    @jax.jit
    def both(hidden: jax.Array, counted: jax.Array) -> list[jax.Array]:
        context = context_of(block.config, positions, mask)
        return [block(hidden, context, which) for which in (number, counted)]

    for ours in both(jnp.asarray(before), jnp.int32(number)):
        assert np.linalg.norm(ours - after) < 1e-5 * np.linalg.norm(after)


def test_a_window_hides_what_stands_further_back():
    config = dataclasses.replace(CONFIG, window=2, sliding=(True, False))
    full, sliding = context_of(config, POSITIONS, MASK).masks
    band = np.tril(np.ones((5, 5), bool))
    np.testing.assert_array_equal(full[0], band)
    np.testing.assert_array_equal(sliding[0], band & ~np.tril(np.ones((5, 5), bool), -2))


@pytest.mark.parametrize("changes", [{}, {"window": 2}, {"window": 5, "sliding": (True, True)}])
def test_a_window_that_hides_nothing_is_left_out(changes):
    assert len(context_of(dataclasses.replace(CONFIG, **changes), POSITIONS, MASK).masks) == 1


def test_only_what_a_config_needs_is_computed():
    plainly = context_of(CONFIG, POSITIONS, MASK)
    assert plainly.distances is None and plainly.rotations is not None and len(plainly.rotations) == 1
    two = dataclasses.replace(CONFIG, local_rotary=Rotary(1e3), alibi=True)
    context = context_of(two, POSITIONS, MASK)
    assert context.rotations is not None and len(context.rotations) == 2
    np.testing.assert_array_equal(context.distances[0], np.subtract.outer(np.arange(5), np.arange(5)))
    assert context_of(dataclasses.replace(CONFIG, rotary=None), POSITIONS, MASK).rotations is None
