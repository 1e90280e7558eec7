"""Masks against pycocotools' own reading, PIL's polygons and arrays written by hand."""

import hashlib
import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as pycoco
from scipy import ndimage

from vla.records import Segmentation
from vla.stimuli.datasets.coco_masks import InstanceMasks, PixelMap, decode_masks

# pycocotools says so of itself under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
LABELS = np.array([[0, 17, 90, 91], [181, 255, 255, 100], [0, 0, 181, 89]])


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def instances(*segmentations: object, height: int = 40, width: int = 50) -> InstanceMasks:
    return InstanceMasks("seven", height, width, json.dumps(segmentations))


def test_pixel_map_by_hand(tmp_path):
    path = tmp_path / "7.png"
    path.write_bytes(png(LABELS))
    masks = PixelMap("seven", path, 3, 4)
    assert isinstance(masks, Segmentation)
    np.testing.assert_array_equal(masks.things(), [[1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 1]])
    np.testing.assert_array_equal(masks.stuff(), [[0, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 0]])
    assert masks.things().dtype == masks.stuff().dtype == bool
    assert masks.content() == hashlib.sha256(path.read_bytes()).hexdigest()
    palette = Image.open(path).convert("P")
    palette.putdata([int(label) for label in LABELS.ravel()])
    palette.save(path)
    np.testing.assert_array_equal(masks.things(), [[1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 1]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png(LABELS.T), "'seven' is 3 x 4 pixels, but its image is 4 x 3; a mask must be of its image's size"),
        (png(np.where(LABELS == 17, 182, LABELS)), r"has the labels 182; expected 0..90 \(things\), 91..181"),
        (png(LABELS)[:-30], "'seven' cannot be read"),
        (b"", "'seven' cannot be read"),
        (png(np.zeros((3, 4, 3))), "'seven' has pixels of PIL's mode 'RGB'; expected one byte a pixel"),
    ],
)
def test_damaged_pixel_maps(data, message):
    for read in (PixelMap.things, PixelMap.stuff):
        with pytest.raises(ValueError, match=message):
            read(PixelMap("seven", data, 3, 4))


def test_pixel_map_gone(tmp_path):
    gone = PixelMap("seven", tmp_path / "gone.png", 3, 4)
    for read in (gone.things, gone.content):
        with pytest.raises(ValueError, match=r"item 'seven' \(.*gone.png\) cannot be opened: No such file"):
            read()


def test_rectangle_by_hand():
    expected = np.zeros((40, 50), bool)
    expected[10:20, 5:30] = True
    masks = instances([[5, 10, 30, 10, 30, 20, 5, 20]])
    assert isinstance(masks, Segmentation)
    np.testing.assert_array_equal(masks.things(), expected)
    assert masks.things().dtype == bool
    assert masks.stuff() is None


def blobs(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(4, 5)).astype(np.float32)
    return np.asarray(Image.fromarray(noise).resize((50, 40), Image.Resampling.BICUBIC)) > 0.2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_of_both_kinds(seed, compressed):
    wanted = blobs(seed) if seed else np.ones((40, 50), bool)
    if compressed:
        encoded = pycoco.encode(np.asfortranarray(wanted.astype(np.uint8)))
        runs = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    else:
        flat = wanted.T.ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, flat.size]).tolist()
        runs = {"size": [40, 50], "counts": [0, *counts] if flat[0] else counts}
    np.testing.assert_array_equal(instances(runs).things(), wanted)


def test_union_of_polygons_crowds_and_parts():
    crowd = np.zeros((40, 50), bool)
    crowd[:, 45:] = True
    runs = {"size": [40, 50], "counts": [45 * 40, 5 * 40]}
    parts = [[2.5, 3.5, 20.25, 4, 12, 30], [20, 20, 40, 20, 40, 38]]
    drawn = Image.new("1", (50, 40))
    for part in parts:
        ImageDraw.Draw(drawn).polygon(part, fill=1)
    found = instances(parts, runs).things()
    # PIL draws the whole outline, pycocotools half of it; nothing else may differ.
    assert (ndimage.binary_erosion(drawn, np.ones((3, 3))) <= found).all()
    assert (found <= ndimage.binary_dilation(drawn) | crowd).all()
    np.testing.assert_array_equal(found, instances(runs, [parts[0]], [parts[1]]).things())
    np.testing.assert_array_equal(found[:, 45:], True)


def test_no_instances_show_nothing():
    empty = instances().things()
    assert empty.shape == (40, 50) and empty.dtype == bool and not empty.any()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "instance 1 of item 'seven' has no polygon"),
        ([[1, 2, 3, 4]], r"has a polygon \[1, 2, 3, 4\]; expected three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "expected three points or more, x and y each"),
        ([[1, 2, 3, 4, 5, float("nan")]], "has points that are no numbers or far outside 50 x 40"),
        ([[1, 2, 3, 4, 5, 1e9]], "far outside 50 x 40"),
        ([[1, 2, 3, 4, 5, "6"]], "no numbers"),
        ({"size": [50, 40], "counts": [2000]}, r"of the size \[50, 40\], but its image is 40 high and 50 wide"),
        ({"counts": [2000]}, "of the size None"),
        ({"size": [40, 50], "counts": [1999]}, "damaged run lengths; expected whole numbers that add up to 2000"),
        ({"size": [40, 50], "counts": [-1, 2001]}, "damaged run lengths"),
        ({"size": [40, 50]}, "damaged run lengths"),
        ({"size": [40, 50], "counts": "ab"}, "damaged run lengths"),
        ({"size": [40, 50], "counts": "é"}, "damaged run lengths"),
    ],
)
def test_damaged_instances(segmentation, message):
    masks = instances([[0, 0, 9, 0, 9, 9]], segmentation)
    with pytest.raises(ValueError, match=message):
        masks.things()


def test_truncated_run_lengths_are_damage():
    whole = pycoco.encode(np.asfortranarray(blobs(1).astype(np.uint8)))["counts"].decode()
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="damaged run lengths"):
            instances({"size": [40, 50], "counts": whole[:length]}).things()


def test_content_covers_the_annotation_and_nothing_else():
    masks = instances([[5, 10, 30, 10, 30, 20]])
    spaced = InstanceMasks("eight", 40, 50, "[ [[5,10, 30,10, 30,20]] ]")
    assert masks.content() == spaced.content()
    others = (instances([[5, 10, 30, 10, 30, 21]]), instances(), instances([[5, 10, 30, 10, 30, 20]], height=41))
    assert len({each.content() for each in (masks, *others)}) == 4


@pytest.mark.parametrize("masks", [instances([[5, 10, 30, 10, 30, 20]]), PixelMap("seven", png(LABELS), 3, 4)])
def test_masks_travel(masks):
    again = decode_masks(*masks.encoded(), item="seven", height=masks.height, width=masks.width)
    for copy in (again, pickle.loads(pickle.dumps(masks))):
        assert copy == masks and copy.content() == masks.content() and hash(copy) == hash(masks)
        np.testing.assert_array_equal(copy.things(), masks.things())


def test_other_forms_are_refused():
    with pytest.raises(ValueError, match="of the form 'png'; expected instances or pixel_map"):
        decode_masks("png", b"", "seven", 3, 4)
