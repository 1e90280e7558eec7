"""DINOv3's transform against torch's own resizing."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vision_checkpoints import write_vision_family
from vla.models import load_model
from vla.models.image_processors import dinov3_transform

# preprocessor_config.json as published beside the weights
PUBLISHED: dict[str, Any] = {
    "crop_size": None,
    "data_format": "channels_first",
    "default_to_square": True,
    "device": None,
    "disable_grouping": None,
    "do_center_crop": None,
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "image_std": [0.229, 0.224, 0.225],
    "input_data_format": None,
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "return_tensors": None,
    "size": {"height": 224, "width": 224},
}


def transform(folder, **changes: Any):
    (folder / "preprocessor_config.json").write_text(json.dumps({**PUBLISHED, **changes}))
    return dinov3_transform(folder)


def picture(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(height + width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("height, width", [(300, 401), (224, 224), (100, 500), (37, 50), (1, 1)])
def test_images_are_resized_as_torch_resizes_scaled_ones(height, width, tmp_path):
    image = picture(height, width)
    scaled = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] * PUBLISHED["rescale_factor"]
    resized = torch.nn.functional.interpolate(scaled, (224, 224), mode="bilinear", align_corners=False, antialias=True)
    mean, std = (torch.tensor(PUBLISHED[name])[:, None, None] for name in ("image_mean", "image_std"))
    found = transform(tmp_path)
    assert found is not None
    ours = found(image)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, ((resized[0] - mean) / std).numpy(), atol=2e-6)


def test_height_and_width_are_those_of_the_file(tmp_path):
    found = transform(tmp_path, size={"height": 32, "width": 48}, image_processor_type="DINOv3ViTImageProcessor")
    assert found is not None and found(picture(60, 60)).shape == (3, 32, 48)


def test_a_model_takes_the_published_processor(tmp_path):
    write_vision_family(tmp_path, "dinov3")
    expected = transform(tmp_path)
    assert expected is not None
    image = picture(50, 40)
    np.testing.assert_array_equal(load_model(tmp_path).preprocess([image])[0], expected(image))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"do_center_crop": True}, "'do_center_crop' is True"),
        ({"do_rescale": False}, "'do_rescale' is False"),
        ({"resample": 3}, "'resample' is 3"),
        ({"size": {"shortest_edge": 224}}, "'size' has no field 'height'"),
        ({"image_mean": [0.5]}, r"image_mean \[0.5\]"),
        ({"sharpen": True}, "fields .*: sharpen"),
    ],
)
def test_another_transform_is_refused_by_name(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        transform(tmp_path, **changes)


def test_other_processors_have_none(tmp_path):
    assert dinov3_transform(tmp_path) is None
    assert transform(tmp_path, image_processor_type="BitImageProcessor") is None
