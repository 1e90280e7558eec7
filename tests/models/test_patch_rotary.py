"""Angles of patches against Hugging Face's DINOv3."""

import numpy as np
import pytest
import torch
from transformers import DINOv3ViTConfig
from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTRopePositionEmbedding

from vla.models.patch_rotary import patch_turns


@pytest.mark.parametrize("rows, columns", [(14, 14), (3, 9), (1, 1)])
@pytest.mark.parametrize("width, theta", [(64, 100.0), (12, 30.0), (20, 100.0)])
def test_angles_are_hugging_faces(rows, columns, width, theta):
    config = DINOv3ViTConfig(hidden_size=2 * width, num_attention_heads=2, rope_theta=theta)
    # in training it moves the patches at random
    theirs = DINOv3ViTRopePositionEmbedding(config).eval()(torch.zeros(1, 3, 16 * rows, 16 * columns))
    ours = patch_turns(theta, width, rows, columns, extra=5)
    for own, other in zip(ours, theirs, strict=True):
        assert own.shape == (1, 5 + rows * columns, width // 2)
        # the second half of Hugging Face's angles repeats the first
        assert np.abs(np.asarray(own[0, 5:]) - other[:, : width // 2].numpy()).max() < 2e-6
    # tokens before the patches stay as they are
    assert np.array_equal(ours[0][0, :5], np.ones((5, width // 2)))
    assert np.array_equal(ours[1][0, :5], np.zeros((5, width // 2)))
