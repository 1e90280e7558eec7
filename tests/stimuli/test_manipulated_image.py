"""A manipulated picture opens to what its steps make of an image of any kind, and its hash covers all of it."""

import dataclasses
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from tests.stimuli.example_images import Masks, noise, values
from vla.files import file_hash
from vla.records import LazyImage
from vla.stimuli import IMAGE_MANIPULATIONS, decode_image
from vla.stimuli.image_manipulations import ManipulatedImage, grayscale, occlusion, rotation, source_content
from vla.stimuli.specs import read_steps


def steps(spec):
    return read_steps(spec, IMAGE_MANIPULATIONS)


@pytest.fixture
def path(tmp_path):
    noise().save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_steps_are_done_in_their_order(path):
    picture = ManipulatedImage("a", path, steps("occlusion + rotation:angle=20 + grayscale"), (3, "a"))
    by_hand = grayscale(rotation(occlusion(noise(), (3, "a")), 20.0))
    np.testing.assert_array_equal(values(picture.open()), values(by_hand))
    np.testing.assert_array_equal(values(decode_image(picture, "a")), values(by_hand))
    other = dataclasses.replace(picture, steps=picture.steps[::-1])
    assert (values(other.open()) != values(by_hand)).any()


def exif_rotated() -> tuple[bytes, np.ndarray]:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    noise().save(file, "PNG", exif=exif)
    return file.getvalue(), np.rot90(values(noise()), -1)


def cmyk() -> tuple[bytes, np.ndarray]:
    file = io.BytesIO()
    Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(file, "JPEG", quality=100)
    return file.getvalue(), np.broadcast_to([255, 0, 0], (30, 40, 3))


def palette() -> tuple[bytes, np.ndarray]:
    image, file = noise().convert("P"), io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), values(image.convert("RGB"))


def sixteen_bits() -> tuple[bytes, np.ndarray]:
    grey_hw = np.linspace(0, 65535, 1200).astype(np.uint16).reshape(30, 40)
    file = io.BytesIO()
    Image.fromarray(grey_hw).save(file, "PNG")
    return file.getvalue(), np.repeat((grey_hw / 257.0)[..., None], 3, 2)


@pytest.mark.parametrize("kind", [exif_rotated, cmyk, palette, sixteen_bits])
@pytest.mark.parametrize("name", [*IMAGE_MANIPULATIONS])
def test_pictures_of_every_kind(kind, name, tmp_path):
    data, upright = kind()
    (tmp_path / "x.img").write_bytes(data)
    height, width = upright.shape[:2]
    masks = Masks(width, height)
    picture = ManipulatedImage("x", tmp_path / "x.img", steps(name), (1, "x"), masks)
    shown = picture.open()
    assert (shown.mode, shown.size) == ("RGB", (width, height))
    if name == "things_only":
        np.testing.assert_allclose(values(shown)[:, :10], upright[:, :10], atol=3)
    if name == "horizontal_flip":
        np.testing.assert_allclose(values(shown), upright[:, ::-1], atol=3)


def test_the_hash_covers_all_that_determines_the_pixels(path, tmp_path):
    base = ManipulatedImage("a", path, steps("rotation + occlusion"), (3, "a"))
    noise(seed=1).save(tmp_path / "other.png")
    (tmp_path / "moved.png").write_bytes(path.read_bytes())
    things = ManipulatedImage("a", path, steps("things_only"), (3, "a"), Masks())
    different = [
        base,
        things,
        dataclasses.replace(base, source=tmp_path / "other.png"),
        dataclasses.replace(base, steps=steps("rotation:angle=16 + occlusion")),
        dataclasses.replace(base, steps=steps("occlusion + rotation")),
        dataclasses.replace(base, key=(4, "a")),
        dataclasses.replace(base, key=(3, "b")),
        dataclasses.replace(things, segmentation=Masks(things_to=11)),
        dataclasses.replace(things, steps=steps("stuff_only")),
    ]
    newer = dataclasses.replace(base.steps[0].manipulation, version=2)
    different.append(
        dataclasses.replace(base, steps=(dataclasses.replace(base.steps[0], manipulation=newer), base.steps[1]))
    )
    assert len({picture.content() for picture in different}) == len(different)
    # Neither the place nor what is not drawn or masked counts.
    assert dataclasses.replace(base, source=tmp_path / "moved.png", item="z").content() == base.content()
    still = ManipulatedImage("a", path, steps("rotation"), (3, "a"))
    assert dataclasses.replace(still, key=(4, "b")).content() == still.content()


def test_it_is_a_picture_that_other_processes_can_open(path):
    picture = ManipulatedImage("a", path, steps("things_only + patch_shuffle"), (3, "a"), Masks())
    assert isinstance(picture, LazyImage)
    again = pickle.loads(pickle.dumps(picture))
    assert again == picture and again.content() == picture.content()
    np.testing.assert_array_equal(values(again.open()), values(picture.open()))


def test_a_manipulated_picture_can_be_manipulated(path):
    inner = ManipulatedImage("a", path, steps("grayscale"), (3, "a"))
    outer = ManipulatedImage("a", inner, steps("rotation"), (3, "a"))
    whole = ManipulatedImage("a", path, steps("grayscale + rotation"), (3, "a"))
    np.testing.assert_array_equal(values(outer.open()), values(whole.open()))
    assert source_content(inner) == inner.content() and source_content(path) == file_hash(path)


def test_errors_name_the_item(path, tmp_path):
    with pytest.raises(ValueError, match="patch_shuffle of item 'seven': the image is 40 x 30 pixels, too small"):
        ManipulatedImage("seven", path, steps("patch_shuffle:grid=99"), (1, "x")).open()
    with pytest.raises(ValueError, match="the mask of item 'seven' is 41 x 30 pixels"):
        ManipulatedImage("seven", path, steps("things_only"), (1, "x"), Masks(width=41)).open()
    with pytest.raises(ValueError, match="item 'seven' has no mask of stuff; leave it out"):
        ManipulatedImage("seven", path, steps("stuff_only"), (1, "x"), Masks(stuff_to=None)).open()
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"image of item 'seven' \(.*cut.png\) cannot be read"):
        ManipulatedImage("seven", tmp_path / "cut.png", steps("grayscale"), (1, "x")).open()
