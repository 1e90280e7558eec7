"""Real captions through a real trained decoder: extraction gives what torch gives for each caption alone."""

import csv

import numpy as np
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from tests.activations import tiny
from tests.models.real_data import real_data
from tests.models.reference import torch_layers
from vla.activations.extract import extract
from vla.models import load_model


def test_flickr_captions_in_stories260k():
    source = real_data("models", "stories260K")
    with real_data("data", "flickr8k", "captions.txt").open(encoding="utf-8") as file:
        captions = [row["caption"] for _, row in zip(range(24), csv.DictReader(file), strict=False)]
    model = load_model(source)
    twin = LlamaForCausalLM.from_pretrained(source, attn_implementation="eager").eval()
    ids = [torch.tensor(model.preprocess([caption])[0][None].astype(np.int64)) for caption in captions]
    assert len({len(tokens[0]) // 16 for tokens in ids}) > 1
    theirs = [np.stack([state[0].mean(0) for state in torch_layers(twin, tokens).values()]) for tokens in ids]
    ours = extract(model, captions, batch_size=7)
    assert tiny.apart(ours.values, np.stack(theirs, axis=1)) < 1e-5
