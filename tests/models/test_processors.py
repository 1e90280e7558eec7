"""Image processors, and what they refuse."""

import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import write_image_processor, write_vision
from vla.models import load_model


def photograph(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def test_images_are_resized_cropped_and_normalised_as_written(tmp_path):
    write_vision(tmp_path)
    image = photograph(80, 56)
    [pixels] = load_model(tmp_path).preprocess([image])
    resized = image.resize((40, 28), Image.Resampling.BICUBIC).crop((6, 0, 34, 28))
    expected = (np.asarray(resized, np.float64) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert pixels.dtype == np.float32
    assert np.abs(pixels - expected.transpose(2, 0, 1)).max() < 1e-5


def test_images_keep_the_sizes_that_the_processor_gives_them(tmp_path):
    write_vision(tmp_path)
    write_image_processor(tmp_path, 28, do_center_crop=False)
    model = load_model(tmp_path)
    pixels = model.preprocess([photograph(56, 28), photograph(28, 84)])
    assert [image.shape for image in pixels] == [(3, 28, 56), (3, 84, 28)]
    assert model.readouts(pixels[0][None], pool="cls", layers=("embed",)).shape == (1, 1, 24)


@pytest.mark.parametrize(
    "image, message",
    [
        ("photo.jpg", "image 0 is str; expected a PIL image of mode RGB"),
        (Image.new("L", (40, 40)), "image 0 is a PIL image of mode L"),
        (Image.new("RGBA", (40, 40)), "image 0 is a PIL image of mode RGBA"),
    ],
)
def test_what_is_no_rgb_image_is_named(image, message, tmp_path):
    write_vision(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path).preprocess([image])


def test_a_processor_of_another_model_is_noticed(tmp_path):
    write_vision(tmp_path)
    write_image_processor(tmp_path, 6)
    with pytest.raises(ValueError, match=r"makes \[3, 6, 6\] of image 0, .* at least 7.*processor="):
        load_model(tmp_path).preprocess([photograph(40, 40)])


def test_an_image_that_the_processor_cannot_take_is_named(tmp_path):
    write_vision(tmp_path)
    write_image_processor(tmp_path, 28, image_mean=[0.5, 0.5])
    with pytest.raises(ValueError, match=r"the image processor cannot take image 0, \(40, 40\) pixels"):
        load_model(tmp_path).preprocess([photograph(40, 40)])


def test_an_absent_image_processor_is_asked_for_and_may_come_from_elsewhere(tmp_path):
    write_vision(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    write_image_processor(tmp_path / "processor", 28)
    with pytest.raises(ValueError, match=r"no image processor in .*: expected preprocessor_config\.json .*processor="):
        load_model(tmp_path / "model")
    assert load_model(tmp_path / "model", processor=tmp_path / "processor").preprocess([photograph(30, 30)])


@pytest.mark.parametrize(
    "text, message", [("{", "is not JSON"), ('{"image_processor_type": "None"}', "cannot read the image processor")]
)
def test_a_broken_image_processor_is_refused(text, message, tmp_path):
    write_vision(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)
