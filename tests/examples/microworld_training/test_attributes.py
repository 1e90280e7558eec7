"""The loss of attributes against torch, and its trivial guess against entropies by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy.stats import entropy
from transformers import ViTForImageClassification

from examples.microworld_training.attributes import EXCLUSIVE, LABELS, attribute_losses, prior_logits
from examples.microworld_training.networks import pixels_of
from examples.microworld_training.training_scenes import ATTRIBUTES
from tests.examples.microworld_training.tiny import SEEN, loss_of, scenes, task


def test_the_loss_is_torchs():
    made, parameters = task("micro-vit")
    given = scenes().part(slice(0, 6))
    targets = made.targets[:6]
    loss, parts = loss_of(made, parameters, {}, (pixels_of(given.images), targets))
    assert set(parts) == set(ATTRIBUTES)
    # The logits themselves, from the loss's own network, are checked where checkpoints are saved; here from torch's.
    folder = made.scratch.parent / "scratch-logits"
    made.write(folder, parameters)
    with torch.no_grad():
        logits = ViTForImageClassification.from_pretrained(folder)(torch.from_numpy(pixels_of(given.images))).logits
    cut = np.cumsum([0, *(len(names) for names in ATTRIBUTES.values())])
    assert cut[-1] == len(LABELS) == logits.shape[1]
    expected = {}
    for name, start, stop in zip(ATTRIBUTES, cut[:-1], cut[1:], strict=True):
        wanted = torch.from_numpy(given.labels[name]).float()
        if name in EXCLUSIVE:
            expected[name] = torch.nn.functional.cross_entropy(logits[:, start:stop], wanted.argmax(1))
        else:
            expected[name] = _binary(logits[:, start:stop], wanted)
    # The file is float16.
    for name, value in expected.items():
        assert float(parts[name]) == pytest.approx(float(value), rel=5e-3), name
    assert float(loss) == pytest.approx(sum(map(float, parts.values())), rel=1e-5)


def _binary(logits, wanted):
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1).mean()


def test_a_constant_guess_cannot_beat_the_entropy_of_what_it_was_made_from():
    made, _ = task("micro-vit")
    seen = scenes().part(slice(0, SEEN))
    parts = attribute_losses(prior_logits(made.targets.mean(0)), jnp.asarray(made.targets))
    assert float(parts["stuff"]) == pytest.approx(entropy(seen.labels["stuff"].sum(0)), rel=1e-3)
    each = [entropy([share, 1 - share]) for share in seen.labels["things"].mean(0) if 0 < share < 1]
    assert float(parts["things"]) == pytest.approx(sum(each), abs=0.02)
    assert made.trivial["loss"] == pytest.approx(sum(made.trivial[name] for name in ATTRIBUTES))
