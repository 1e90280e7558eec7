"""Writes a complete world: scenes with captions, masks, paraphrases, further images, preferences and a tagger."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from vla import progress
from vla.checks import check_whole_number
from vla.microworld.captions import Caption, describe, paraphrase
from vla.microworld.drawing import ImageTask, drawing_process, write_images
from vla.microworld.make_once import make_once
from vla.microworld.published_layouts import write_coco, write_flickr8k, write_pick_a_pic
from vla.microworld.scenes import Scene, distinct_scenes, sample_matching
from vla.microworld.tagger import write_tagger

# Raise it whenever the same seed would give other images, captions or masks.
VERSION = 2
MAX_RENDERINGS = 15
DRAWING = "drawing the world"
# Seconds per image with two cores, for the progress display.
_SECONDS_PER_IMAGE = 0.0025


class WorldFolders(NamedTuple):
    """Paths of the parts of a world; None for parts that were not requested.

    Attributes:
      coco: In the layout of MS-COCO val2017: images, captions, instances, pixel maps.
      flickr8k: Other scenes in the layout of Flickr8k.
      pick_a_pic: Judgments in the layout of Pick-a-Pic.
      paraphrases: Paraphrases of the captions in `coco`, for `with_paraphrases`.
      synthetic: Further images of the captions in `coco`, for `with_synthetic`.
      tagger: A spaCy pipeline trained on the vocabulary.
    """

    coco: Path
    flickr8k: Path | None
    pick_a_pic: Path | None
    paraphrases: Path
    synthetic: Path | None
    tagger: Path


def write_world(
    folder: str | os.PathLike[str],
    n: int,
    seed: int,
    *,
    renderings: int = MAX_RENDERINGS,
    paraphrases: int = 10,
    judgments: int | None = None,
    flickr8k: int = 0,
    show_progress: bool = False,
) -> WorldFolders:
    """Write evaluation scenes with everything that the paper's datasets have; a finished folder is reused.

    Args:
      folder: Folder of the world; the tagger goes to a folder beside it.
      n: Number of scenes, no two with the same description.
      seed: Seed of the world.
      renderings: Number of further images of each scene, 0 to 15: the first of each caption, then the second, ...
      paraphrases: Number of paraphrases of each scene, 1 to 10.
      judgments: Number of judgments with a preference; None for `n`.
      flickr8k: Number of scenes, all different from the first `n`, in the layout of Flickr8k.
      show_progress: Show a progress bar with the remaining time.

    Raises:
      ValueError: A number is out of range, or the folder holds something else.
    """
    judgments = n if judgments is None else judgments
    check_whole_number("n", n, 1, 10**6)
    check_whole_number("seed", seed, 0, 2**63)
    check_whole_number("renderings", renderings, 0, MAX_RENDERINGS)
    check_whole_number("paraphrases", paraphrases, 1, 10)
    check_whole_number("judgments", judgments, 0, 10**6)
    check_whole_number("flickr8k", flickr8k, 0, 10**6)
    recipe = {"what": "world", "version": VERSION, "n": n, "seed": seed, "renderings": renderings}
    recipe |= {"paraphrases": paraphrases, "judgments": judgments, "flickr8k": flickr8k}

    def fill(draft: Path) -> None:
        progress.expect({DRAWING: _SECONDS_PER_IMAGE * n * (1 + renderings)})
        scenes = distinct_scenes(n + flickr8k, seed)
        scenes, others = scenes[:n], scenes[n:]
        captions = [describe(scene) for scene in scenes]
        with (
            drawing_process(n * (1 + renderings) + 2 * judgments + flickr8k) as pool,
            progress.bar(DRAWING, n * (1 + renderings), show_progress) as advance,
        ):
            # The tagger and the judgments cannot be split: the second process does them first, then helps drawing.
            tasks: list[tuple[Any, ...]] = [(write_tagger, tagger, seed)]
            if judgments:
                tasks.append((write_pick_a_pic, draft / "pick_a_pic", judgments, seed))
            futures = [pool.submit(*task) for task in tasks] if pool else []
            for function, *arguments in () if pool else tasks:
                function(*arguments)
            write_coco(draft / "coco", scenes, captions)
            advance(n)
            _write_paraphrases(draft / "paraphrases.jsonl", scenes, captions, paraphrases)
            if renderings:
                write_images(_renderings(draft / "synthetic", scenes, captions, renderings, seed), pool, advance)
            if flickr8k:
                write_flickr8k(draft / "flickr8k", others, pool)
            for future in futures:
                future.result()

    path = Path(os.path.abspath(Path(folder).expanduser()))
    tagger = path.parent / f"{path.name}-tagger"
    make_once(path, recipe, fill)
    return WorldFolders(
        path / "coco",
        path / "flickr8k" if flickr8k else None,
        path / "pick_a_pic" if judgments else None,
        path / "paraphrases.jsonl",
        path / "synthetic" if renderings else None,
        write_tagger(tagger, seed),
    )


def _item_id(index: int) -> str:
    """The id of a scene in the COCO layout, whose items are numbered from 1."""
    return f"{index + 1:012d}"


def _write_paraphrases(
    path: Path, scenes: Sequence[Scene], captions: Sequence[tuple[Caption, ...]], count: int
) -> None:
    with path.open("w", encoding="utf-8") as file:
        for index, (scene, originals) in enumerate(zip(scenes, captions, strict=True)):
            new = [caption.text for caption in paraphrase(scene, originals, count)]
            entry = {"id": _item_id(index), "captions": [caption.text for caption in originals], "paraphrases": new}
            file.write(json.dumps(entry) + "\n")


def _renderings(
    folder: Path, scenes: Sequence[Scene], captions: Sequence[tuple[Caption, ...]], count: int, seed: int
) -> list[ImageTask]:
    """The further images of every scene: the first of each of its captions, then the second, and so on."""
    tasks: list[ImageTask] = []
    for index, (scene, originals) in enumerate(zip(scenes, captions, strict=True)):
        (folder / _item_id(index)).mkdir(parents=True)
        for image in range(count):
            variant, caption = divmod(image, len(originals))
            prompt = originals[caption]
            rng = Random(f"rendering {seed} {scene.key} {scene.grain} {image}")
            record = {"prompt": prompt.text, "caption": caption, "variant": variant}
            drawn = sample_matching(prompt.description, scene, rng)
            tasks.append((folder / _item_id(index) / f"{image:02d}.png", drawn, record))
    return tasks
