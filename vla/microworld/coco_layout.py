"""Writes scenes as MS-COCO is published: photographs, captions, instances, and COCO-Stuff's pixel maps."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vla.microworld.captions import Caption
from vla.microworld.coco_ids import LABEL_OFFSET, THINGS, around
from vla.microworld.drawing import SIDE, Drawn, draw_with_map
from vla.microworld.outlines import segmentation
from vla.microworld.pictures import encode
from vla.microworld.scenes import Scene

SPLIT = "val2017"


def write_coco(folder: Path, scenes: Sequence[Scene], captions: Sequence[Sequence[Caption]]) -> None:
    """Scenes under `folder`, numbered from 1, for `vla.stimuli.read_dataset("coco_val2017", folder)`.

    Pictures are PNG, not JPEG: their file names say so, everything else is as published. An instance has polygons,
    or run lengths where polygons cannot say its mask; one that is all hidden has none and is left out.
    """
    for place in (SPLIT, "annotations", f"stuffthingmaps/{SPLIT}"):
        (folder / place).mkdir(parents=True)
    images, instances = [], []
    for number, scene in enumerate(scenes, start=1):
        name = f"{number:012d}"
        drawn = draw_with_map(scene)
        (folder / SPLIT / f"{name}.png").write_bytes(encode(drawn.pixels))
        data = io.BytesIO()
        Image.fromarray(pixel_map(scene, drawn)).save(data, "PNG", compress_level=1)
        (folder / "stuffthingmaps" / SPLIT / f"{name}.png").write_bytes(data.getvalue())
        images.append({"id": number, "file_name": f"{name}.png", "height": SIDE, "width": SIDE})
        instances += _instances(scene, drawn, number, len(instances) + 1)
    said = [(number, caption.text) for number, own in enumerate(captions, start=1) for caption in own]
    annotations = [{"id": i, "image_id": number, "caption": text} for i, (number, text) in enumerate(said, start=1)]
    categories = [{"id": id, "name": name, "supercategory": group} for id, name, group in sorted(THINGS.values())]
    for what, content in (
        ("captions", {"images": images, "annotations": annotations}),
        ("instances", {"images": images, "annotations": instances, "categories": categories}),
    ):
        path = folder / "annotations" / f"{what}_{SPLIT}.json"
        path.write_text(json.dumps({"info": {"description": "drawn scenes"}, **content}), encoding="utf-8")


def pixel_map(scene: Scene, drawn: Drawn) -> np.ndarray:
    """COCO-Stuff's label of each pixel, uint8 [H, W]: a thing's category less one, or that of the stuff there."""
    above, below = around(scene.stuff)
    labels = np.where(drawn.upper, above, below).astype(np.uint8) + np.uint8(0)
    for number, kind in enumerate(_members(scene), start=1):
        labels[drawn.things == number] = THINGS[kind][0]
    return (labels.astype(int) + LABEL_OFFSET).astype(np.uint8)


def _members(scene: Scene) -> list[str]:
    """The kind of each thing in order of its number."""
    return [group.kind for group in scene.groups for _ in group.spots]


def _instances(scene: Scene, drawn: Drawn, image: int, first: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, kind in enumerate(_members(scene), start=1):
        mask = drawn.things == number
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        found.append(
            {
                "id": first + len(found),
                "image_id": image,
                "category_id": THINGS[kind][0],
                "segmentation": segmentation(mask),
                "area": int(mask.sum()),
                "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
                "iscrowd": 0,
            }
        )
    return found
