"""Writes small data sets in the exact layouts in which COCO, Flickr8k and Pick-a-Pic are published."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CATEGORIES = [
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "animal", "id": 18, "name": "dog"},
    {"supercategory": "indoor", "id": 90, "name": "toothbrush"},
]


def jpeg(seed: int, width: int = 8, height: int = 6) -> bytes:
    """The bytes of a small photograph of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def coco_image(number: int, width: int = 8, height: int = 6) -> dict[str, Any]:
    """An entry of `images` as in the published files."""
    return {
        "license": 4,
        "file_name": f"{number:012d}.jpg",
        "coco_url": f"http://images.cocodataset.org/val2017/{number:012d}.jpg",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 17:02:52",
        "flickr_url": "http://farm7.staticflickr.com/6116/x_z.jpg",
        "id": number,
    }


def coco_instance(id: int, number: int, category: int, segmentation: Any, crowd: int = 0) -> dict[str, Any]:
    """An entry of `annotations` as in the published instances files."""
    return {
        "segmentation": segmentation,
        "area": 1.0,
        "iscrowd": crowd,
        "image_id": number,
        "bbox": [0, 0, 1, 1],
        "category_id": category,
        "id": id,
    }


def write_json(path: Path, value: object) -> Path:
    """Write JSON, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def write_coco(
    root: Path,
    captions: Sequence[tuple[int, str]],
    instances: Sequence[dict[str, Any]] | None = None,
    maps: Mapping[int, np.ndarray] | None = None,
    numbers: Sequence[int] | None = None,
) -> Path:
    """COCO val2017 as its archives unpack, of 8 x 6 photographs.

    Args:
      root: Where.
      captions: (image number, caption) in the file's order.
      instances: Entries of the instances file; no file if None.
      maps: Labels [H, W] of the pixel map of each image number; no folder if None.
      numbers: Images, in the order in which `images` lists them; those with captions by default.
    """
    numbers = list(dict.fromkeys(number for number, _ in captions)) if numbers is None else list(numbers)
    head = {"info": {"year": 2017}, "licenses": [{"id": 4}], "images": [coco_image(number) for number in numbers]}
    said = [{"image_id": number, "id": 38 + i, "caption": text} for i, (number, text) in enumerate(captions)]
    write_json(root / "annotations" / "captions_val2017.json", {**head, "annotations": said})
    if instances is not None:
        whole = {**head, "annotations": list(instances), "categories": CATEGORIES}
        write_json(root / "annotations" / "instances_val2017.json", whole)
    (root / "val2017").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (root / "val2017" / f"{number:012d}.jpg").write_bytes(jpeg(number))
    if maps is not None:
        (root / "stuffthingmaps" / "val2017").mkdir(parents=True)
        for number, labels in maps.items():
            Image.fromarray(labels.astype(np.uint8)).save(root / "stuffthingmaps" / "val2017" / f"{number:012d}.png")
    return root


def write_flickr8k_original(root: Path, captions: Mapping[str, Sequence[str]], absent: Sequence[str] = ()) -> Path:
    """Flickr8k as the original archives unpack: Flicker8k_Dataset/ (sic) and Flickr8k_text/."""
    (root / "Flicker8k_Dataset").mkdir(parents=True)
    (root / "Flickr8k_text").mkdir()
    lines = [f"{image}#{i}\t{text}\n" for image, said in captions.items() for i, text in enumerate(said)]
    (root / "Flickr8k_text" / "Flickr8k.token.txt").write_text("".join(lines), encoding="utf-8")
    for seed, image in enumerate(captions):
        if image not in absent:
            (root / "Flicker8k_Dataset" / image).write_bytes(jpeg(seed))
    return root


def judgment(number: int, label_0: float | None = 1.0, label_1: float | None = 0.0, **columns: Any) -> dict[str, Any]:
    """A row of Pick-a-Pic; `columns` replace what it has by default."""
    row = {
        "are_different": True,
        "best_image_uid": f"{number:08x}-a",
        "caption": f"prompt {number}",
        "created_at": None,
        "has_label": True,
        "image_0_uid": f"{number:08x}-a",
        "image_0_url": "",
        "image_1_uid": f"{number:08x}-b",
        "image_1_url": "",
        "jpg_0": jpeg(2 * number),
        "jpg_1": jpeg(2 * number + 1),
        "label_0": label_0,
        "label_1": label_1,
        "model_0": "dreamlike-art/dreamlike-photoreal-2.0",
        "model_1": "CompVis/stable-diffusion-v1-4",
        "ranking_id": 1000 + number,
        "user_id": 7,
        "num_example_per_prompt": 1,
        "__index_level_0__": number,
    }
    return {**row, **columns}


PICK_A_PIC = pa.schema(
    [
        ("are_different", pa.bool_()),
        ("best_image_uid", pa.string()),
        ("caption", pa.string()),
        ("created_at", pa.timestamp("ns")),
        ("has_label", pa.bool_()),
        ("image_0_uid", pa.string()),
        ("image_0_url", pa.string()),
        ("image_1_uid", pa.string()),
        ("image_1_url", pa.string()),
        ("jpg_0", pa.binary()),
        ("jpg_1", pa.binary()),
        ("label_0", pa.float64()),
        ("label_1", pa.float64()),
        ("model_0", pa.string()),
        ("model_1", pa.string()),
        ("ranking_id", pa.int64()),
        ("user_id", pa.int64()),
        ("num_example_per_prompt", pa.int64()),
        ("__index_level_0__", pa.int64()),
    ]
)


def write_pick_a_pic(path: Path, rows: Sequence[dict[str, Any]], rows_per_group: int = 1000) -> Path:
    """A shard of Pick-a-Pic: the columns and types of v1 and v2; further columns of the rows are added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows), PICK_A_PIC)
    for column in sorted({key for row in rows for key in row} - set(PICK_A_PIC.names)):
        table = table.append_column(column, pa.array([row.get(column) for row in rows]))
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path
