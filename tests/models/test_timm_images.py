"""timm's transform on pictures whose pixels are known; tests/models/test_timm.py has timm's own on real ones."""

import json

import numpy as np
import pytest
from PIL import Image

from vla.models.image_processors import TimmTransform, timm_transform


def place(height: int, width: int) -> Image.Image:
    """A picture whose red is the column, green the row of each pixel."""
    row, column = np.mgrid[:height, :width].astype(np.uint8)
    return Image.fromarray(np.stack([column, row, np.zeros_like(row)], -1))


def transform(**changes) -> TimmTransform:
    fields = {"side": 4, "resized": 8, "squash": False, "resampling": Image.Resampling.NEAREST}
    return TimmTransform(**{**fields, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **changes})


@pytest.mark.parametrize(
    "height, width, left, top",
    [(8, 8, 2, 2), (8, 12, 4, 2), (13, 8, 2, 4), (8, 11, 4, 2), (8, 9, 2, 2)],  # half a pixel goes to the even side
)
def test_the_centre_is_cut_out(height, width, left, top):
    pixels = transform()(place(height, width)) * 255
    np.testing.assert_allclose(pixels[0, 0], np.arange(left, left + 4), atol=1e-4)
    np.testing.assert_allclose(pixels[1, :, 0], np.arange(top, top + 4), atol=1e-4)


def test_the_longer_edge_is_cut_down_to_a_whole_number():
    # 10 x 15 to 8 x 12, of which columns 4 to 7 are kept: every 1.25th pixel
    pixels = transform()(place(10, 15)) * 255
    assert pixels.shape == (3, 4, 4)
    np.testing.assert_allclose(pixels[0, 0], np.floor((np.arange(4, 8) + 0.5) * 1.25), atol=1e-4)


def test_squashing_ignores_the_shape():
    pixels = transform(resized=4, squash=True)(place(4, 12)) * 255
    np.testing.assert_allclose(pixels[0, 0], [1, 4, 7, 10], atol=1e-4)


def test_mean_and_deviation_are_per_channel():
    grey = Image.new("RGB", (8, 8), (51, 102, 204))
    pixels = transform(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))(grey)
    np.testing.assert_allclose(pixels[:, 0, 0], [0.2, 0.2, 0.25], rtol=1e-5)


@pytest.mark.parametrize(
    "given, side, resized, squash",
    [
        ({}, 224, 256, False),  # floor(224 / 0.875)
        ({"crop_pct": 0.9}, 224, 248, False),
        ({"crop_pct": 1.0, "crop_mode": "squash", "input_size": [3, 384, 384]}, 384, 384, True),
    ],
)
def test_what_a_config_says(given, side, resized, squash, tmp_path):
    fields = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {"interpolation": "bilinear", **given}}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    found = timm_transform(tmp_path)
    assert found is not None
    assert (found.side, found.resized, found.squash) == (side, resized, squash)
    assert found.resampling is Image.Resampling.BILINEAR and found.mean == (0.485, 0.456, 0.406)


def test_other_configs_have_none(tmp_path):
    assert timm_transform(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert timm_transform(tmp_path) is None
