"""Pictures of every kind people have, read as a person sees them."""

import base64
import dataclasses
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from vla.stimuli import decode_image
from vla.stimuli.images import image_orientation

# Four quadrants: red, green / blue, white; wider than high, so a turn shows.
QUADRANTS = np.zeros((4, 6, 3), np.uint8)
QUADRANTS[:2, :3, 0] = QUADRANTS[:2, 3:, 1] = QUADRANTS[2:, :3, 2] = QUADRANTS[2:, 3:] = 255


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(mode: str = "RGB", side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)).convert(mode)


def test_every_kind_of_source(tmp_path):
    data = encoded(Image.fromarray(QUADRANTS), "PNG")
    path = tmp_path / "q.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), Image.open(path), QUADRANTS):
        image = decode_image(source)
        assert (image.mode, image.size) == ("RGB", (6, 4))
        np.testing.assert_array_equal(np.asarray(image), QUADRANTS)


def test_array_of_another_library():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return QUADRANTS

    np.testing.assert_array_equal(np.asarray(decode_image(Foreign())), QUADRANTS)


# How a viewer must turn the stored pixels, from the EXIF standard's own table of the eight orientations.
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(QUADRANTS), "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(decode_image(data)), TURNED[orientation](QUADRANTS))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_the_orientation_and_upright_size_are_read_from_the_header(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(QUADRANTS), form, exif=exif)
    assert image_orientation(data) == (orientation, decode_image(data).size)
    assert image_orientation(QUADRANTS) == (1, (6, 4))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (POINTER, r"image of item 'x' \(\d+ bytes\) is a Git LFS pointer, not the image itself: run `git lfs pull`"),
        (HEIC, "is a HEIC image, which PIL reads only with a plugin: `pip install pillow-heif` and call"),
        ("https://a.org/b.jpg", r"image of item 'x' \(https://a.org/b.jpg\) is a URL, and URLs are not fetched: down"),
        (b"https://a.org/b.jpg", "is a URL, and URLs are not fetched"),
        (base64.b64encode(encoded(noise(), "JPEG")), "is an image in base64: decode it with base64.b64decode"),
        (base64.b64encode(encoded(noise(), "PNG")).decode(), "is an image in base64"),
        ("data:image/png;base64,iVBORw0", "is an image in base64"),
    ],
)
def test_what_stands_in_place_of_an_image_is_named(source, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        decode_image(source, "x")
    if isinstance(source, bytes):
        (tmp_path / "a.jpg").write_bytes(source)
        with pytest.raises(ValueError, match=words.replace(r"\d+ bytes", ".*a.jpg")):
            decode_image(tmp_path / "a.jpg", "x")


@dataclasses.dataclass(frozen=True)
class Held:
    """A picture that opens to whatever it holds."""

    held: object

    def open(self):
        if isinstance(self.held, Exception):
            raise self.held
        return self.held

    def content(self) -> str:
        return "0" * 64


def test_a_picture_is_opened(tmp_path):
    (tmp_path / "q.png").write_bytes(encoded(Image.fromarray(QUADRANTS), "PNG"))
    for held in (QUADRANTS, Image.fromarray(QUADRANTS), encoded(Image.fromarray(QUADRANTS), "PNG"), tmp_path / "q.png"):
        np.testing.assert_array_equal(np.asarray(decode_image(Held(held), "x")), QUADRANTS)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (b"", r"image of item 'x' \(0 bytes\) is empty"),
        (b"<html>", r"image of item 'x' \(6 bytes\) cannot be read"),
        (np.zeros((2, 2)), "image of item 'x' is an array of float64"),
        (None, "image of item 'x' is a NoneType; expected a path"),
        (Held(QUADRANTS), "image of item 'x' opens to a Held; expected a path, bytes or pixels"),
        (
            OSError("the disk is gone"),
            "image of item 'x' cannot be opened: the disk is gone. Restore the file that it is read from",
        ),
        (ValueError("row 7 is damaged"), "^row 7 is damaged$"),
    ],
)
def test_a_picture_that_cannot_be_read(held, words):
    with pytest.raises(ValueError, match=words):
        decode_image(Held(held), "x")


def test_a_given_image_is_not_changed():
    given = Image.open(io.BytesIO(encoded(noise("L"), "PNG")))
    decode_image(given)
    assert given.mode == "L"


def test_transparency_is_laid_on_white():
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    # 20 % of the colour on 80 % of white: 0.2 * 200 + 0.8 * 255, and so on.
    expected = [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]
    for source in (rgba, Image.fromarray(rgba), encoded(Image.fromarray(rgba), "PNG")):
        np.testing.assert_array_equal(np.asarray(decode_image(source)), expected)


def test_grey_with_opacity():
    image = Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")
    np.testing.assert_array_equal(np.asarray(decode_image(image)), [[[10] * 3, [255] * 3]])


def test_palette_with_and_without_a_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 60, 50, 40])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(np.asarray(decode_image(encoded(image, "PNG"))), [[[9, 8, 7], [60, 50, 40]]])
    data = encoded(image, "PNG", transparency=0)
    np.testing.assert_array_equal(np.asarray(decode_image(data)), [[[255] * 3, [60, 50, 40]]])


def test_grey_and_one_bit():
    grey_hw = np.array([[0, 100, 255]], np.uint8)
    for source in (grey_hw, encoded(Image.fromarray(grey_hw), "PNG")):
        np.testing.assert_array_equal(np.asarray(decode_image(source))[..., 2], grey_hw)
    bits = Image.fromarray(np.array([[True, False]]))
    np.testing.assert_array_equal(np.asarray(decode_image(encoded(bits, "PNG")))[..., 0], [[255, 0]])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey(form):
    grey_hw = np.array([[0, 257, 30000, 65535]], np.uint16)
    image = decode_image(encoded(Image.fromarray(grey_hw), form))
    np.testing.assert_array_equal(np.asarray(image)[..., 1], [[0, 1, 117, 255]])


def test_cmyk_jpeg():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    pixel = np.asarray(decode_image(encoded(image, "JPEG", quality=100)))[4, 4]
    np.testing.assert_allclose(pixel, [255, 0, 0], atol=3)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(np.asarray(decode_image(data))[0, 0], [255, 0, 0])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated(tmp_path, form, kept):
    data = encoded(noise(), form)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=r"image of item 'seven' \(.*cut.img\) cannot be read.*fetch it again"):
        decode_image(path, "seven")


def test_truncated_image_of_pil():
    data = encoded(noise(), "JPEG")
    with pytest.raises(ValueError, match="image of item 'x' cannot be read"):
        decode_image(Image.open(io.BytesIO(data[: len(data) // 2])), "x")


def test_passing_truncated_files_is_refused(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ValueError, match="LOAD_TRUNCATED_IMAGES is switched on.*set it to False"):
        decode_image(QUADRANTS)


def test_decompression_bomb(monkeypatch):
    data = encoded(noise(), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="image of item 'x' .* is too large to decode safely.*Shrink"):
        decode_image(data, "x")


def test_no_image(tmp_path):
    with pytest.raises(ValueError, match=r"image \(.*gone.jpg\) cannot be opened: No such file"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="image of item 'x' .* cannot be opened: Is a directory"):
        decode_image(tmp_path, "x")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"image of item 'x' \(.*empty.jpg\) is empty"):
        decode_image(tmp_path / "empty.jpg", "x")
    with pytest.raises(ValueError, match=r"\(18 bytes\) cannot be read: its format is not known"):
        decode_image(b"<html>404</html>\r\n")
    with pytest.raises(ValueError, match="image of item 'x' is a int; expected a path"):
        decode_image(7, "x")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match=r"image of item 'x' is an array of .*expected uint8.*\[H, W, 3\]"):
        decode_image(array, "x")


def test_pixels_without_a_fixed_range_are_refused():
    with pytest.raises(ValueError, match="image of item 'x' has pixels of PIL's mode 'F'; save it with 8 bits"):
        decode_image(Image.fromarray(np.zeros((2, 2), np.float32)), "x")
    # values that 16 bits could hold too: black, white or something between, nobody knows
    whole = Image.fromarray(np.array([[0, 200]], np.int32))
    for source in (whole, encoded(whole, "TIFF")):
        with pytest.raises(
            ValueError, match=r"of item 'x'.* has pixels of PIL's mode 'I', whole numbers .*save it with 8"
        ):
            decode_image(source, "x")


def test_grey_maps_of_16_bits_are_scaled():
    # as whole numbers of 32 bits to PIL
    data = b"P5 3 1 65535\n" + np.array([0, 13107, 65535], ">u2").tobytes()
    np.testing.assert_array_equal(np.asarray(decode_image(data))[0, :, 0], [0, 51, 255])


def test_a_transparent_grey_of_16_bits_is_laid_on_white():
    image = Image.open(io.BytesIO(encoded(Image.fromarray(np.array([[1000, 13107]], np.uint16)), "PNG")))
    image.info["transparency"] = 1000
    np.testing.assert_array_equal(np.asarray(decode_image(image))[0, :, 0], [255, 51])


@pytest.mark.parametrize("mode", ["1", "CMYK", "HSV", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr", "I;16"])
def test_every_mode_said_to_be_read_is_read(mode):
    assert decode_image(Image.new(mode, (3, 2))).mode == "RGB"


def test_real_photographs_agree_with_pil():
    root = os.environ.get("VLA_TEST_DATA")
    folder = Path(root or "", "data", "flickr8k", "Images")
    if not root or not folder.is_dir():
        pytest.skip("VLA_TEST_DATA names no folder with data/flickr8k")
    for path in sorted(folder.iterdir())[:20]:
        np.testing.assert_array_equal(np.asarray(decode_image(path)), np.asarray(Image.open(path)))
