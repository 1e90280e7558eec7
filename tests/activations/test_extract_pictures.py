"""Pictures of every form go through a model as the upright RGB picture that a person sees."""

import numpy as np
import pytest
from PIL import Image

from tests.activations import tiny
from vla.activations.extract import extract


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    return tiny.vision(tmp_path_factory.mktemp("vision") / "tiny-dinov2")[0]


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
GREY = PIXELS[..., 0]
ROTATED = 6  # EXIF: to be turned clockwise by a quarter


def forms() -> dict[str, tuple[Image.Image, np.ndarray, str, dict]]:
    """A picture, what is to be seen of it, the kind of file, and what is written with it."""
    alpha = np.dstack([PIXELS, np.where(GREY > 127, 255, 0).astype(np.uint8)])
    on_white = np.where(alpha[..., 3:] > 0, PIXELS, 255).astype(np.uint8)
    palette = Image.fromarray(PIXELS).quantize(16, dither=Image.Dither.NONE)
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    return {
        "plain": (Image.fromarray(PIXELS), PIXELS, "png", {}),
        "alpha": (Image.fromarray(alpha), on_white, "png", {}),
        "palette": (palette, np.asarray(palette.convert("RGB")), "png", {}),
        "grey": (Image.fromarray(GREY), np.repeat(GREY[..., None], 3, 2), "png", {}),
        "sixteen_bits": (
            Image.fromarray(GREY.astype(np.uint16) * 257),
            np.repeat(GREY[..., None], 3, 2),
            "png",
            {},
        ),
        "rotated": (Image.fromarray(PIXELS), np.rot90(PIXELS, -1), "png", {"exif": exif}),
    }


@pytest.mark.parametrize("form", forms())
def test_a_picture_is_read_as_it_is_seen(form, vision, tmp_path):
    image, seen, kind, options = forms()[form]
    path = tmp_path / f"{form}.{kind}"
    image.save(path, **options)
    ours = extract(vision, [path])
    assert np.array_equal(ours.values, extract(vision, [np.ascontiguousarray(seen)]).values)
    assert np.isfinite(ours.values).all()


def test_the_forms_are_told_apart(vision):
    """Were the alpha or the rotation lost, the test above would not see it unless it shows in activations."""
    read = extract(vision, [np.ascontiguousarray(seen) for _, seen, _, _ in forms().values()], layers="block_1").values[
        0
    ]
    for name, other in (("plain", "alpha"), ("plain", "rotated"), ("plain", "grey"), ("plain", "palette")):
        i, j = (list(forms()).index(form) for form in (name, other))
        assert not np.allclose(read[i], read[j], rtol=1e-3), (name, other)
