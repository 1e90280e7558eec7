"""Writes scenes in the layouts in which COCO (with COCO-Stuff), Flickr8k and Pick-a-Pic are published.

The readers of the real datasets read them. Images are PNG files instead of JPEG, and masks of things are run lengths,
where the real ones are mostly polygons.

Axis letters: H height, W width.
"""

import csv
import dataclasses
import io
import json
import uuid
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from random import Random

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from vla.microworld.captions import Caption, describe
from vla.microworld.drawing import SIDE, DrawnImage, draw, draw_with_map, encode, write_images
from vla.microworld.scenes import Scene, sample_matching, sample_mismatching, scene

SPLIT = "val2017"

# (id, name, supercategory) of each category. Those that COCO has keep COCO's ids and names. The six others have ids
# of COCO's range for things (1 to 90) that no published annotation uses.
COCO_THINGS: dict[str, tuple[int, str, str]] = {
    "ball": (37, "sports ball", "sports"),
    "balloon": (30, "balloon", "sports"),
    "bird": (16, "bird", "animal"),
    "boat": (9, "boat", "vehicle"),
    "car": (3, "car", "vehicle"),
    "cat": (17, "cat", "animal"),
    "chair": (62, "chair", "furniture"),
    "cup": (47, "cup", "kitchen"),
    "fish": (29, "fish", "animal"),
    "flower": (45, "flower", "plant"),
    "house": (12, "house", "building"),
    "kite": (38, "kite", "sports"),
    "plane": (5, "airplane", "vehicle"),
    "star": (66, "star", "sky"),
    "tree": (26, "tree", "plant"),
    "umbrella": (28, "umbrella", "accessory"),
}
# COCO-Stuff's ids, 92 to 182.
COCO_STUFF = {
    "brick wall": 171,  # wall-brick
    "grass": 124,  # grass
    "night sky": 157,  # sky-other
    "road": 149,  # road
    "sand": 154,  # sand
    "sea": 155,  # sea
    "snow": 159,  # snow
    "wooden floor": 118,  # floor-wood
}
SKY, WALL, PAVEMENT = 157, 173, 140  # sky-other, wall-other, pavement
# COCO-Stuff's pixel maps hold id - 1.
LABEL_OFFSET = -1

# Probability that a judge has no preference, and that a preference is for the wrong image.
TIES, NOISE = 0.1, 0.12
# Probability that a judgment repeats an earlier prompt with two other images.
REPEATED_PROMPTS = 0.15
# Scenes of prompts are numbered far away from those of the COCO and Flickr8k layouts.
_FIRST_PROMPT = 10_000_000
_ROW_GROUP = 250


def write_coco(folder: Path, scenes: Sequence[Scene], captions: Sequence[Sequence[Caption]]) -> None:
    """Write scenes under `folder`, numbered from 1, for `vla.stimuli.read_dataset("coco_val2017", folder)`.

    A thing that is hidden completely has no instance.
    """
    for name in (SPLIT, "annotations", f"stuffthingmaps/{SPLIT}"):
        (folder / name).mkdir(parents=True)
    images, instances = [], []
    for number, each in enumerate(scenes, start=1):
        name = f"{number:012d}"
        drawn = draw_with_map(each)
        (folder / SPLIT / f"{name}.png").write_bytes(encode(drawn.pixels))
        data = io.BytesIO()
        Image.fromarray(pixel_map(each, drawn)).save(data, "PNG", compress_level=1)
        (folder / "stuffthingmaps" / SPLIT / f"{name}.png").write_bytes(data.getvalue())
        images.append({"id": number, "file_name": f"{name}.png", "height": SIDE, "width": SIDE})
        instances += _instances(each, drawn, number, len(instances) + 1)
    texts = [(number, caption.text) for number, of_scene in enumerate(captions, start=1) for caption in of_scene]
    annotations = [{"id": i, "image_id": number, "caption": text} for i, (number, text) in enumerate(texts, start=1)]
    categories = [{"id": id, "name": name, "supercategory": group} for id, name, group in sorted(COCO_THINGS.values())]
    for name, content in (
        ("captions", {"images": images, "annotations": annotations}),
        ("instances", {"images": images, "annotations": instances, "categories": categories}),
    ):
        path = folder / "annotations" / f"{name}_{SPLIT}.json"
        path.write_text(json.dumps({"info": {"description": "drawn scenes"}, **content}), encoding="utf-8")


def pixel_map(scene: Scene, drawn: DrawnImage) -> UInt8[np.ndarray, "H W"]:
    """COCO-Stuff's label of each pixel: the id of its thing, or else of its stuff, minus 1."""
    label = COCO_STUFF[scene.stuff]
    above, below = {"brick wall": (label, PAVEMENT), "wooden floor": (WALL, label)}.get(scene.stuff, (SKY, label))
    labels = np.where(drawn.upper, above, below)
    for number, category in enumerate(_categories(scene), start=1):
        labels[drawn.things == number] = COCO_THINGS[category][0]
    return (labels + LABEL_OFFSET).astype(np.uint8)


def segmentation(mask: Bool[np.ndarray, "H W"]) -> dict[str, list[int]]:
    """A mask as COCO's uncompressed run lengths, column by column, the first of zeros."""
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends.tolist(), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _categories(scene: Scene) -> list[str]:
    return [group.category for group in scene.groups for _ in group.spots]


def _instances(scene: Scene, drawn: DrawnImage, image_id: int, first_id: int) -> list[dict[str, object]]:
    instances: list[dict[str, object]] = []
    for number, category in enumerate(_categories(scene), start=1):
        mask = drawn.things == number
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
        ids = {"id": first_id + len(instances), "image_id": image_id, "category_id": COCO_THINGS[category][0]}
        outline = {"segmentation": segmentation(mask), "area": int(mask.sum()), "bbox": box, "iscrowd": 0}
        instances.append({**ids, **outline})
    return instances


def write_flickr8k(folder: Path, scenes: Sequence[Scene], pool: Executor | None = None) -> None:
    """Write scenes in Kaggle's layout of Flickr8k, for `vla.stimuli.read_dataset("flickr8k", folder)`."""
    (folder / "Images").mkdir(parents=True)
    names = [f"scene_{number:05d}.png" for number in range(len(scenes))]
    write_images([(folder / "Images" / name, each, None) for name, each in zip(names, scenes, strict=True)], pool)
    with (folder / "captions.txt").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("image", "caption"))
        for name, each in zip(names, scenes, strict=True):
            rows.writerows((name, caption.text) for caption in describe(each))


@dataclasses.dataclass(frozen=True)
class Judgment:
    """Two scenes generated from a prompt, and the preference of a judge.

    Attributes:
      prompt: The caption from which both were generated.
      first: The scene shown first.
      second: The scene shown second.
      correct: Index of the scene that fits the prompt, 0 or 1.
      mistake: The detail that is wrong in the other.
      label: 1.0 if the first is preferred, 0.0 if the second is, 0.5 without a preference.
    """

    prompt: str
    first: Scene
    second: Scene
    correct: int
    mistake: str
    label: float


def judgments(n: int, seed: int) -> list[Judgment]:
    """Judgments, of which `n` have a preference; about one in ten is a tie and comes on top of these.

    In 12 of 100 preferences the wrong image is preferred. Prompts can occur more than once.
    """
    rng, sampled, prompts = Random(f"judgments {seed}"), [], []
    while sum(judgment.label != 0.5 for judgment in sampled) < n:
        if prompts and rng.random() < REPEATED_PROMPTS:
            original, caption = rng.choice(prompts)
        else:
            original = scene(seed, _FIRST_PROMPT + len(prompts))
            caption = rng.choice(describe(original))
            prompts.append((original, caption))
        good = sample_matching(caption.description, original, rng)
        bad, mistake = sample_mismatching(caption.description, rng, original.part)
        correct = rng.randrange(2)
        pair = (good, bad) if correct == 0 else (bad, good)
        chance = rng.random()
        preferred = correct if chance >= TIES + (1 - TIES) * NOISE else 1 - correct
        label = 0.5 if chance < TIES else float(preferred == 0)
        sampled.append(Judgment(caption.text, *pair, correct, mistake, label))
    return sampled


def write_pick_a_pic(folder: Path, n: int, seed: int) -> None:
    """Write judgments as one shard of Pick-a-Pic, for `vla.stimuli.read_dataset("pick_a_pic", folder)`.

    It has the columns that the reader uses, and the column `mistake` with the detail that is wrong in the worse image.
    """
    import pyarrow
    import pyarrow.parquet

    (folder / "data").mkdir(parents=True)
    rows = []
    for number, judgment in enumerate(judgments(n, seed)):
        row: dict[str, object] = {"ranking_id": number, "caption": judgment.prompt}
        row |= {f"image_{i}_uid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed} {number} {i}")) for i in (0, 1)}
        row |= {"jpg_0": encode(draw(judgment.first)), "jpg_1": encode(draw(judgment.second))}
        row |= {"label_0": judgment.label, "label_1": 1 - judgment.label}
        rows.append(row | {"has_label": True, "are_different": True, "mistake": judgment.mistake})
    path = folder / "data" / "validation_unique-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=_ROW_GROUP)
