"""What is saved is what Hugging Face's own classes and `load_model` read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import AutoTokenizer

from examples.microworld_training.networks import class_token, pixels_of, through_blocks
from tests.examples.microworld_training.tiny import loss_of, scenes, task
from tests.microworld.hugging_face import CLASSES
from vla.models import load_clip, load_model


@pytest.fixture(scope="module", params=sorted(CLASSES))
def saved(request, tmp_path_factory):
    """A model's task, its parameters rounded as the file has them, and the folder it was written to."""
    made, parameters = task(request.param)
    folder = tmp_path_factory.mktemp("saved") / request.param
    made.write(folder, parameters)
    return (
        request.param,
        made,
        jax.tree.map(lambda leaf: leaf.astype(np.float16).astype(np.float32), parameters),
        folder,
    )


def test_nothing_missing_and_nothing_left_over(saved):
    model, _, _, folder = saved
    loaded, told = CLASSES[model].from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    assert loaded.dtype == torch.float32


def test_every_parameter_arrives_where_it_was(saved):
    model, made, parameters, folder = saved
    if model == "micro-clip":
        states, networks = parameters["network"], [load_model(folder).network, load_model(folder, tower="text").network]
    else:
        states, networks = [parameters["network"]], [load_model(folder).network]
    for state, network in zip(states, networks, strict=True):
        there = jax.tree.leaves_with_path(nnx.split(network)[1])
        assert len(there) == len(jax.tree.leaves(state)) > 10
        for (path, value), expected in zip(there, jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(value, expected, err_msg=str(path))


def test_the_passes_of_training_are_hugging_faces(saved):
    model, made, parameters, folder = saved
    torch_model = CLASSES[model].from_pretrained(folder, attn_implementation="eager").eval()
    pixels = pixels_of(scenes().images[:3])
    if model in ("micro-dinov2", "micro-vit"):
        network = nnx.merge(made.graph, parameters["network"])
        ours = through_blocks(network, network.embedding(jnp.asarray(pixels)))
        with torch.no_grad():
            base = torch_model if model == "micro-dinov2" else torch_model.vit
            theirs = base(torch.from_numpy(pixels)).last_hidden_state
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        alone = class_token(network, network.embedding(jnp.asarray(pixels)))
        np.testing.assert_allclose(alone, ours[:, 0], rtol=1e-4, atol=1e-4)
    elif model != "micro-clip":
        ids, mask = made.ids[:3], made.mask[:3]
        with torch.no_grad():
            out = torch_model(torch.from_numpy(ids).long(), attention_mask=torch.from_numpy(mask).long())
        ours, _ = loss_of(made, parameters, {}, (ids, mask))
        labels = torch.from_numpy(np.where(mask, ids, -100)).long()[:, 1:]
        theirs = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), labels.flatten())
        assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
    else:
        pictures, ids, mask, _ = made.held_out[0]
        with torch.no_grad():
            theirs = torch_model(
                torch.from_numpy(ids).long(),
                torch.from_numpy(pictures),
                torch.from_numpy(mask).long(),
                return_loss=True,
            ).loss
        _, parts = loss_of(made, parameters, {}, made.held_out[0])
        assert float(parts["pairs"]) == pytest.approx(float(theirs), rel=1e-4)
        assert load_clip(folder).width == 64


def test_a_tokenizer_reads_any_text(saved):
    model, made, _, folder = saved
    if model not in ("micro-bloom", "micro-clip", "micro-llama"):
        return
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in (scenes().captions[0][0], "Où est 火, \n\t{}?", "A photo depicts a dog."):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    assert (tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id) == (model == "micro-clip")
