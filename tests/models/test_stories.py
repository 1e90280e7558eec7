"""The one real trained decoder on real captions, against Hugging Face on torch."""

import csv

import numpy as np
import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from tests.models.real_data import real_data
from tests.models.reference import TOLERANCE, distance, torch_layers
from tests.models.test_decoder import padded
from vla.models import Model, load_model


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(real_data("models", "stories260K"))


@pytest.fixture(scope="module")
def captions() -> list[str]:
    with real_data("data", "flickr8k", "captions.txt").open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        return [caption for _, (_, caption) in zip(range(12), rows, strict=False)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_is_hugging_faces_caption_by_caption(side, model, captions):
    reference = LlamaForCausalLM.from_pretrained(model.source, attn_implementation="eager").eval()
    ids = model.preprocess(captions)
    assert all(row[0] == 1 for row in ids)
    longest = max(map(len, ids))
    assert longest > min(map(len, ids))
    batch, mask = padded(ids, side, longest + 3)
    pools = {"mean": slice(None), "mean_no_bos": slice(1, None), "last": slice(-1, None)}
    read = {pool: np.asarray(model.readouts(batch, pool=pool, layers=model.layer_names, mask=mask)) for pool in pools}
    for row, tokens in enumerate(ids):
        theirs = torch_layers(reference, torch.from_numpy(tokens[None]).long())
        assert tuple(theirs) == model.layer_names
        for i, name in enumerate(model.layer_names):
            for pool, kept in pools.items():
                assert distance(read[pool][i, row], theirs[name][0, kept].mean(0)) < TOLERANCE


def test_it_goes_on_with_a_story(model):
    """Our final norm through the tied embeddings says what comes next: a wrong rotary layout shows at once."""
    [tokens] = model.preprocess(["Once upon a time"])
    for _ in range(12):
        batch, mask = padded([tokens], "right", 24)
        read = model.readouts(batch, pool="last", layers=("final_norm",), mask=mask)
        logits = np.asarray(model.network.embedding[...]) @ np.asarray(read[0, 0])
        tokens = np.append(tokens, np.int32(logits.argmax()))
    assert model.processor.decode(tokens).startswith(  # type: ignore[union-attr]
        "Once upon a time, there was a"
    )
