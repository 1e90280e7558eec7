"""COCO's directories: as published, parts by name, incomplete, contradictory; and the real images."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from pycocotools.coco import COCO

from tests.stimuli.datasets.published import coco_image, coco_instance, write_coco, write_json
from vla.records import Item
from vla.stimuli import decode_image, image_view
from vla.stimuli.datasets.coco import locate_coco, read_coco, read_coco_directory
from vla.stimuli.datasets.coco_masks import InstanceMasks, PixelMap

# pycocotools says so of itself under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SQUARE = [[0, 0, 4, 0, 4, 3, 0, 3]]
SAID = [(785, "skis"), (139, "a room"), (139, "a tv "), (785, "snow"), (632, "a bed")]
IDS = ("000000000139", "000000000632", "000000000785")


@pytest.fixture
def coco(tmp_path):
    labels = {number: np.full((6, 8), label) for number, label in ((139, 0), (632, 120), (785, 255))}
    labels[139][:, 4:] = 91
    return write_coco(tmp_path / "coco", SAID, [coco_instance(1, 139, 18, SQUARE)], labels)


def test_published_layout(coco):
    dataset = read_coco_directory(coco)
    assert (dataset.name, dataset.ids, dataset.dropped) == ("coco_val2017", IDS, ())
    png = coco / "stuffthingmaps/val2017/000000000139.png"
    assert dataset.items[0] == Item(
        IDS[0],
        coco / "val2017/000000000139.jpg",
        ("a room", "a tv"),
        segmentation=PixelMap(IDS[0], png, 6, 8),
    )
    assert dataset.items[0].segmentation is not None
    np.testing.assert_array_equal(dataset.items[0].segmentation.things()[:, 3:5], [[True, False]] * 6)
    assert all(item.image.is_file() for item in dataset.items)


def test_masks_by_choice(coco):
    things = read_coco_directory(coco, masks="instances").items
    assert things[0].segmentation == InstanceMasks(IDS[0], 6, 8, "[[[0,0,4,0,4,3,0,3]]]")
    assert things[0].segmentation.things().sum() == 12
    # Listed without instances: nothing countable is in it, which is no missing mask.
    assert things[1].segmentation is not None and not things[1].segmentation.things().any()
    assert [item.segmentation for item in read_coco_directory(coco, masks="none").items] == [None] * 3
    shutil.rmtree(coco / "stuffthingmaps")
    assert read_coco_directory(coco).items == things
    with pytest.raises(
        ValueError, match=r"no pixel maps .*stuffthingmaps_trainval2017.zip there, or pass masks=\"inst"
    ):
        read_coco_directory(coco, masks="pixel_maps")
    (coco / "annotations/instances_val2017.json").unlink()
    with pytest.raises(ValueError, match=r"no annotations/instances_val2017.json.*annotations_trainval2017.zip"):
        read_coco_directory(coco, masks="instances")
    assert [item.segmentation for item in read_coco_directory(coco).items] == [None] * 3
    with pytest.raises(ValueError, match="masks='stuff'; expected one of auto, instances, none, pixel_maps"):
        read_coco_directory(coco, masks="stuff")


def test_parts_by_name(coco, tmp_path):
    whole = read_coco_directory(coco)
    moved = (tmp_path / "images", tmp_path / "said.json", tmp_path / "outlined.json", tmp_path / "maps")
    (coco / "val2017").rename(moved[0])
    (coco / "annotations/captions_val2017.json").rename(moved[1])
    (coco / "annotations/instances_val2017.json").rename(moved[2])
    (coco / "stuffthingmaps/val2017").rename(moved[3])
    dataset = read_coco(*map(str, moved), name="mine")
    assert (dataset.name, dataset.ids) == ("mine", IDS)
    assert [item.captions for item in dataset.items] == [item.captions for item in whole.items]
    # Pixel maps say more than instances: where both are given, all masks are theirs.
    assert all(isinstance(item.segmentation, PixelMap) for item in dataset.items)


def test_flat_layout_and_pixel_maps_beside_the_annotations(coco):
    (coco / "stuffthingmaps/val2017").rename(coco / "annotations/val2017")
    files = locate_coco(coco)
    assert files.stuffthingmaps == coco / "annotations/val2017"
    shutil.rmtree(coco / "annotations/val2017")
    (coco / "val2017").rename(coco / "images")
    (coco / "annotations/captions_val2017.json").rename(coco / "captions_val2017.json")
    (coco / "annotations/instances_val2017.json").rename(coco / "instances_val2017_part.json")
    files = locate_coco(coco)
    assert (files.images, files.captions) == (coco / "images", coco / "captions_val2017.json")
    assert (files.instances, files.stuffthingmaps) == (coco / "instances_val2017_part.json", None)
    shutil.copy(coco / "instances_val2017_part.json", coco / "instances_val2017_other.json")
    with pytest.raises(
        ValueError, match="several files of instances: instances_val2017_other.json, instances_val2017_p"
    ):
        locate_coco(coco)


def test_incomplete_directories(coco, tmp_path):
    with pytest.raises(ValueError, match="gone is not a folder"):
        locate_coco(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"has no images \(train2017/.*and no captions .*train2017.zip and annot"):
        locate_coco(coco, "train2017")
    with pytest.raises(ValueError, match="gone is not a folder; expected the folder of COCO's images"):
        read_coco(tmp_path / "gone", coco / "annotations/captions_val2017.json")
    with pytest.raises(ValueError, match="gone is not a folder; expected the folder of COCO-Stuff's pixel maps"):
        read_coco(coco / "val2017", coco / "annotations/captions_val2017.json", stuffthingmaps=tmp_path / "gone")


def test_absent_images_refused_or_dropped(coco):
    (coco / "val2017/000000000632.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 of the 3 images in .*: 000000000632. Put them there, or pass missing_images"
    ):
        read_coco_directory(coco)
    dataset = read_coco_directory(coco, missing_images="drop")
    assert (dataset.ids, dataset.dropped) == ((IDS[0], IDS[2]), (IDS[1],))


def test_absent_captions_refused_or_dropped(tmp_path):
    coco = write_coco(tmp_path, SAID[:2], numbers=(785, 7, 139))
    with pytest.raises(
        ValueError, match=r"1 images in .* have no caption: 000000000007. Caption them, or pass missing_c"
    ):
        read_coco_directory(coco)
    dataset = read_coco_directory(coco, missing_captions="drop")
    assert (dataset.ids, dataset.dropped) == ((IDS[0], IDS[2]), ("000000000007",))


@pytest.mark.parametrize("masks", ["pixel_maps", "instances"])
def test_absent_masks_refused_dropped_or_kept_without(coco, masks):
    (coco / "stuffthingmaps/val2017/000000000139.png").unlink()
    path = coco / "annotations/instances_val2017.json"
    part = json.loads(path.read_text())
    write_json(path, {**part, "images": [i for i in part["images"] if i["id"] != 139], "annotations": []})
    with pytest.raises(ValueError, match=r"1 of the 3 images have no masks in .*: 000000000139.*\"keep\".*\"drop\""):
        read_coco_directory(coco, masks=masks)
    dropped = read_coco_directory(coco, masks=masks, missing_masks="drop")
    assert (dropped.ids, dropped.dropped) == (IDS[1:], (IDS[0],))
    kept = read_coco_directory(coco, masks=masks, missing_masks="keep")
    assert (kept.ids, kept.dropped) == (IDS, ())
    assert [item.segmentation is None for item in kept.items] == [True, False, False]


def test_instances_of_other_sizes(coco):
    path = coco / "annotations/instances_val2017.json"
    images = [coco_image(139, width=6, height=8), coco_image(632)]
    write_json(path, {**json.loads(path.read_text()), "images": images})
    with pytest.raises(ValueError, match=r"another size .*: 000000000139 \(8 x 6 there, 6 x 8 here\). A mask must be"):
        read_coco_directory(coco, masks="instances", missing_masks="drop")


@pytest.mark.parametrize("side", [6, 8])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("masks", ["instances", "pixel_maps", "upright_pixel_maps"])
def test_masks_of_images_with_an_exif_orientation(masks, orientation, side, tmp_path):
    # The thing is white, at the top left of the stored pixels; stuff and what is unlabelled is black.
    thing = np.zeros((side, 8), bool)
    thing[:3, :4] = True
    labels = np.where(thing, 17, 120)
    labels[-1] = 255
    if masks == "upright_pixel_maps":
        labels = np.asarray(turned(labels, orientation))
        if orientation > 1 and labels.shape == thing.shape:
            pytest.skip("the size does not tell that this map is upright: maps are of the stored pixels")
    coco = write_coco(tmp_path / "coco", [(139, "a card")], [coco_instance(1, 139, 18, SQUARE)], {139: labels})
    for file in (coco / "annotations").iterdir():
        file.write_text(file.read_text().replace('"height": 6', f'"height": {side}'))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.repeat(np.where(thing, 255, 0)[..., None], 3, 2).astype(np.uint8))
    stored.save(coco / "val2017" / "000000000139.jpg", "PNG", exif=exif)
    dataset = read_coco_directory(coco, masks=masks.removeprefix("upright_"))
    shown = np.asarray(decode_image(image_view(dataset, "things_only").stimuli[0]))[..., 0]
    np.testing.assert_array_equal(shown, np.asarray(turned(np.where(thing, 255, 0), orientation)))
    if masks != "instances":
        stuff = np.asarray(decode_image(image_view(dataset, "stuff_only", fill="gray").stimuli[0]))[..., 0]
        expected = np.where((np.arange(side) < side - 1)[:, None] & ~thing, 0, 128)
        np.testing.assert_array_equal(stuff, np.asarray(turned(expected, orientation)))


def turned(stored: np.ndarray, orientation: int) -> Image.Image:
    """The pixels as PIL shows them under an EXIF orientation."""
    image, exif = Image.fromarray(stored.astype(np.uint8)), Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(image)


def test_stuff_only_pixel_maps(coco):
    for number, labels in ((139, [0, 183]), (632, [0, 92]), (785, [182, 0])):
        pixels = np.tile(np.array(labels, np.uint8), (6, 4))
        Image.fromarray(pixels).save(coco / f"stuffthingmaps/val2017/{number:012d}.png")
    things = [item.segmentation.things().mean() for item in read_coco_directory(coco).items]
    stuff = [item.segmentation.stuff().mean() for item in read_coco_directory(coco).items]
    # 0 is unlabelled, 183 all things.
    assert (things, stuff) == ([0.5, 0, 0], [0, 0.5, 0.5])


def test_no_item_left(coco):
    shutil.rmtree(coco / "val2017")
    (coco / "val2017").mkdir()
    with pytest.raises(ValueError, match="no item is left: none of the 3 images .* 000000000139.jpg, 000000000632.jpg"):
        read_coco_directory(coco, missing_images="drop")


@pytest.mark.parametrize("setting", ["missing_images", "missing_captions", "missing_masks"])
def test_unknown_policy(coco, setting):
    with pytest.raises(ValueError, match=f"{setting}='ignore'; expected one of drop, .*refuse"):
        read_coco_directory(coco, **{setting: "ignore"})


def real() -> Path:
    root = os.environ.get("VLA_TEST_DATA")
    folder = Path(root or "", "data", "coco_val2017")
    if not root or not folder.is_dir():
        pytest.skip("VLA_TEST_DATA names no folder with data/coco_val2017")
    return folder


def test_real_captions_and_images():
    folder = real()
    with pytest.raises(ValueError, match="4735 of the 5000 images"):
        read_coco_directory(folder)
    with pytest.raises(ValueError, match="77 of the 265 images have no masks in .*subset_merged.json"):
        read_coco_directory(folder, missing_images="drop")
    dataset = read_coco_directory(folder, missing_images="drop", missing_masks="keep")
    assert (len(dataset), len(dataset.dropped)) == (265, 4735)
    assert sum(item.segmentation is not None for item in dataset.items) == 188
    published = COCO(folder / "captions_val2017.json")
    for item in dataset.items:
        said = published.loadAnns(published.getAnnIds([int(item.id)]))
        assert item.captions == tuple(each["caption"].strip() for each in said)
        assert Image.open(item.image).format == "JPEG"


def test_real_masks_against_pycocotools_and_pil():
    folder = real()
    published = COCO(folder / "instances_val2017_subset_merged.json")
    dataset = read_coco_directory(folder, missing_images="drop", missing_masks="drop")
    assert (len(dataset), len(dataset.dropped)) == (188, 4812)
    agreement = []
    for item in dataset.items:
        assert item.segmentation is not None
        things = item.segmentation.things()
        with Image.open(item.image) as photograph:
            assert things.shape == (photograph.height, photograph.width)
        annotations = published.loadAnns(published.getAnnIds([int(item.id)]))
        expected = np.zeros_like(things)
        for annotation in annotations:
            expected |= published.annToMask(annotation).astype(bool)
        np.testing.assert_array_equal(things, expected)
        if annotations and not any(annotation["iscrowd"] for annotation in annotations):
            drawn = Image.new("1", things.shape[::-1])
            for annotation in annotations:
                for polygon in annotation["segmentation"]:
                    ImageDraw.Draw(drawn).polygon(polygon, fill=1)
            agreement.append((things & np.asarray(drawn)).sum() / (things | np.asarray(drawn)).sum())
    assert len(agreement) > 150 and np.median(agreement) > 0.97 and min(agreement) > 0.6
