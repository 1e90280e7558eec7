"""Nonlinearities against Hugging Face's, by the same names."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.activations import ACT2FN

from vla.models.nonlinearities import NONLINEARITIES


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_a_name_means_what_it_means_to_hugging_face(name):
    x = np.linspace(-6, 6, 601, dtype=np.float32)
    theirs = ACT2FN[name](torch.from_numpy(x)).numpy()
    assert np.abs(np.asarray(NONLINEARITIES[name](jnp.asarray(x))) - theirs).max() < 2e-6
