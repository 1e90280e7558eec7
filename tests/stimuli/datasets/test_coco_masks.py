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
from vla.stimuli.datasets.coco_masks import InstanceMasks, PixelMap, decode_masks, label_convention

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
        (png(LABELS[:2]), "'seven' is 4 x 2 pixels, but its image is 4 x 3; a mask must be of its image's size"),
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


# COCO's stuff annotations: ids themselves, all things as 183, 0 where nothing is known.
STUFF = np.array([[0, 183, 92, 182], [0, 0, 183, 183], [150, 92, 0, 182]])


def test_stuff_only_pixel_map_by_hand():
    masks = PixelMap("seven", png(STUFF), 3, 4, "stuff_pixelmaps")
    np.testing.assert_array_equal(masks.things(), [[0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(masks.stuff(), [[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]])
    assert masks.content() != PixelMap("seven", png(STUFF), 3, 4).content()
    without_things = PixelMap("seven", png(np.where(STUFF == 183, 0, STUFF)), 3, 4, "stuff_pixelmaps")
    assert not without_things.things().any()
    with pytest.raises(ValueError, match=r"17, 89, 90, 91, 255; expected 183 \(things\), 92..182 \(stuff\) and 0"):
        PixelMap("seven", png(np.where(LABELS == 181, 91, LABELS)), 3, 4, "stuff_pixelmaps").things()


@pytest.mark.parametrize(
    ("maps", "folder", "convention"),
    [
        ([[0, 100], [0, 17]], "maps", "stuffthingmaps"),
        ([[0, 100], [255, 100]], "maps", "stuffthingmaps"),
        ([[0, 100], [0, 183]], "maps", "stuff_pixelmaps"),
        ([[0, 100], [182, 92]], "maps", "stuff_pixelmaps"),
        ([[0, 100]], "stuff_val2017_pixelmaps", "stuff_pixelmaps"),
        ([[0, 100]], "stuffthingmaps/val2017", "stuffthingmaps"),
    ],
)
def test_which_labels_a_folder_has(maps, folder, convention, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    paths = [tmp_path / folder / f"{number}.png" for number in range(len(maps))]
    for path, labels in zip(paths, maps, strict=True):
        path.write_bytes(png(np.array([labels])))
    assert label_convention(paths) == convention


def test_a_folder_that_does_not_tell_its_labels_is_refused(tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "1.png").write_bytes(png(np.array([[0, 100]])))
    with pytest.raises(ValueError, match=r"maps in .*maps have no label but 0 and 92..181.*Rename the folder"):
        label_convention([tmp_path / "maps" / "1.png"])


def test_a_pixel_map_with_an_orientation_of_its_own_is_refused():
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 3
    Image.fromarray(LABELS.astype(np.uint8)).save(file, "PNG", exif=exif)
    with pytest.raises(ValueError, match=r"'seven' has an EXIF orientation of its own \(3\); save it without"):
        PixelMap("seven", file.getvalue(), 3, 4).things()


def test_a_git_lfs_pointer_is_named():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    with pytest.raises(ValueError, match="'seven' is a Git LFS pointer, not the map itself: run `git lfs pull`"):
        PixelMap("seven", pointer, 3, 4).stuff()


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


@pytest.mark.parametrize(
    "masks",
    [
        instances([[5, 10, 30, 10, 30, 20]]),
        PixelMap("seven", png(LABELS), 3, 4),
        PixelMap("seven", png(STUFF), 3, 4, "stuff_pixelmaps"),
    ],
)
def test_masks_travel(masks):
    again = decode_masks(*masks.encoded(), item="seven", height=masks.height, width=masks.width)
    for copy in (again, pickle.loads(pickle.dumps(masks))):
        assert copy == masks and copy.content() == masks.content() and hash(copy) == hash(masks)
        np.testing.assert_array_equal(copy.things(), masks.things())


def test_other_forms_are_refused():
    with pytest.raises(ValueError, match="of the form 'png'; expected instances, pixel_map or stuff_pixel_map"):
        decode_masks("png", b"", "seven", 3, 4)
