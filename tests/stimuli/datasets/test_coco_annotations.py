"""COCO's annotation files: as published, and each way in which one can be damaged."""

import json

import pytest

from tests.stimuli.datasets.published import CATEGORIES, coco_image, coco_instance, write_coco, write_json
from vla.stimuli.datasets.coco import (
    CocoCategory,
    CocoImage,
    coco_categories,
    read_coco_captions,
    read_coco_instances,
)

SQUARE = [[0, 0, 2, 0, 2, 2, 0, 2]]
GOOD = {"images": [coco_image(139)], "annotations": [{"id": 1, "image_id": 139, "caption": "a room"}]}


def test_captions_in_published_order_stripped(tmp_path):
    said = [(785, "one "), (139, "eins\n"), (785, "two"), (139, "zwei 🐕"), (785, "three"), (139, " 三 ")]
    images, captions = read_coco_captions(write_coco(tmp_path, said) / "annotations/captions_val2017.json")
    assert captions == {785: ("one", "two", "three"), 139: ("eins", "zwei 🐕", "三")}
    assert images[139] == CocoImage(139, "000000000139.jpg", height=6, width=8)
    assert images[139].item == "000000000139"


def test_categories_by_item(tmp_path):
    instances = [coco_instance(1, 2, 90, SQUARE), coco_instance(2, 2, 18, SQUARE), coco_instance(3, 2, 90, SQUARE)]
    write_coco(tmp_path, [(2, "a"), (3, "b")], instances)
    dog, brush = CocoCategory(18, "dog", "animal"), CocoCategory(90, "toothbrush", "indoor")
    assert coco_categories(tmp_path / "annotations/instances_val2017.json") == {
        "000000000002": (dog, brush),
        "000000000003": (),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, r"has no list `images`; .*It has 'annotations', 'images'"),
        ({"annotations": [{"id": 1, "caption": "x"}]}, r"`annotations` that lack a field: number 0 \(image_id\)"),
        ({"annotations": [{"id": 1, "image_id": 139, "caption": 7}]}, r"number 0 \(caption\).*caption \(str\)"),
        ({"annotations": [3]}, "number 0"),
        ({"annotations": GOOD["annotations"] * 2}, "ids twice in `annotations`: 1. Keep one"),
        ({"images": GOOD["images"] * 2}, "ids twice in `images`: 139"),
        ({"annotations": [{"id": 5, "image_id": 4, "caption": "x"}]}, r"not in its list `images`: 5 \(image 4\)"),
        ({"annotations": [{"id": 5, "image_id": 139, "caption": " \n"}]}, r"empty: 000000000139 \(annotation 5\)"),
        ({"images": [{**coco_image(139), "file_name": "../139.jpg"}]}, "outside their folder: ../139.jpg"),
        ({"images": [{**coco_image(139), "file_name": "/etc/139.jpg"}]}, "outside their folder: /etc/139.jpg"),
        ({"images": [{**coco_image(139), "height": 0}]}, "no positive height and width: 000000000139.jpg"),
        (
            {"images": [coco_image(139), {**coco_image(7), "file_name": "x/000000000139.png"}]},
            r"same id, .*: '000000000139' \(000000000139.jpg, x/000000000139.png\)",
        ),
    ],
)
def test_damaged_captions_files(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_coco_captions(write_json(tmp_path / "captions.json", {**GOOD, **change}))


def test_unreadable_files(tmp_path):
    path = write_json(tmp_path / "captions.json", GOOD)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=r"captions.json is truncated or no JSON: .*Fetch or unpack the file again"):
        read_coco_captions(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="captions.json is truncated or no JSON"):
        read_coco_captions(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="captions.json is a Git LFS pointer, not the annotations: run `git lfs pull`"):
        read_coco_captions(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="captions.json holds a list; expected COCO's object"):
        read_coco_captions(path)
    with pytest.raises(ValueError, match="gone.json cannot be opened: No such file"):
        read_coco_instances(tmp_path / "gone.json")


@pytest.mark.parametrize("category", [0, 17, 92, 183])
def test_categories_outside_the_table(tmp_path, category):
    # COCO-Stuff's stuff_val2017.json has a table of its own, with ids from 92: no things.
    stuff = {"supercategory": "textile", "id": 92, "name": "banner"}
    write_coco(tmp_path, [(2, "a")], [coco_instance(9, 2, category, SQUARE)])
    path = tmp_path / "annotations/instances_val2017.json"
    write_json(path, {**json.loads(path.read_text()), "categories": [*CATEGORIES, stuff]})
    with pytest.raises(ValueError, match=rf"no things: {category} \(annotation 9 of 000000000002\)"):
        read_coco_instances(path)
