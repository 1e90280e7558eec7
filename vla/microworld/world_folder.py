"""Writes a whole world of scenes, in the layouts in which the real data are published."""

import csv
import json
import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from vla import progress
from vla.microworld.captions import Caption, describe, paraphrase
from vla.microworld.coco_layout import write_coco
from vla.microworld.once import make_once
from vla.microworld.pictures import Order, helper, write_pictures
from vla.microworld.preferences import write_pick_a_pic
from vla.microworld.rerendering import rerender
from vla.microworld.scenes import Scene, scene
from vla.microworld.tagger import write_tagger

# Raised whenever the same seed would give other files.
VERSION = 2
MOST_RENDERINGS = 15
DRAWING = "drawing the world"
# Seconds of one picture by two cores, for the display.
_PICTURE = 0.0025


class WorldFolders(NamedTuple):
    """Where each part of a world is.

    Attributes:
      coco: As MS-COCO val2017: pictures, captions, instances, pixel maps.
      flickr8k: Other scenes as Flickr8k; None where none were asked for.
      pick_a_pic: Judgments, as Pick-a-Pic; None where none were asked for.
      paraphrases: What `with_paraphrases` takes for `coco`.
      synthetic: What `with_synthetic` takes for `coco`; None where none were asked for.
      tagger: A spaCy pipeline that knows the words.
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
    renderings: int = MOST_RENDERINGS,
    paraphrases: int = 10,
    judgments: int | None = None,
    flickr8k: int = 0,
    show_progress: bool = False,
) -> WorldFolders:
    """Scenes for evaluation with everything that the paper's data have; what is there already is used again.

    Args:
      folder: Where the world shall be.
      n: How many scenes. No two of them are described alike.
      seed: Which.
      renderings: How many further pictures of each, 0 to 15: the first of each caption, then the second, ...
      paraphrases: How many further captions of each, 1 to 10.
      judgments: How many judgments with a preference; None for as many as scenes.
      flickr8k: How many scenes, other ones, there shall be in Flickr8k's layout.
      show_progress: Show a bar with the time left while it is made.

    Raises:
      ValueError: a number is out of range, or the folder holds something else.
    """
    judgments = n if judgments is None else judgments
    for name, value, least, most in (
        ("n", n, 1, 10**6),
        ("seed", seed, 0, 2**63),
        ("renderings", renderings, 0, MOST_RENDERINGS),
        ("paraphrases", paraphrases, 1, 10),
        ("judgments", judgments, 0, 10**6),
        ("flickr8k", flickr8k, 0, 10**6),
    ):
        if isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name}={value!r}; expected a whole number from {least} to {most}")
    recipe = {
        "what": "world",
        "version": VERSION,
        "n": n,
        "seed": seed,
        "renderings": renderings,
        "paraphrases": paraphrases,
        "judgments": judgments,
        "flickr8k": flickr8k,
    }

    def fill(draft: Path) -> None:
        progress.expect({DRAWING: _PICTURE * n * (1 + renderings)})
        chosen = distinct_scenes(n + flickr8k, seed)
        scenes, others = chosen[:n], chosen[n:]
        captions = [describe(what) for what in scenes]
        with (
            helper(n * (1 + renderings) + 2 * judgments + flickr8k) as pool,
            progress.bar(DRAWING, n * (1 + renderings), show_progress) as advance,
        ):
            later = []
            whole: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [(write_tagger, (tagger, seed))]
            if judgments:
                whole.append((write_pick_a_pic, (draft / "pick_a_pic", judgments, seed)))
            # What comes in one piece is begun by the helper, which joins in the rest when it has done that.
            for write, given in whole:
                if pool:
                    later.append(pool.submit(write, *given))
                else:
                    write(*given)
            write_coco(draft / "coco", scenes, captions)
            advance(n)
            _write_paraphrases(draft / "paraphrases.jsonl", scenes, captions, paraphrases)
            if renderings:
                write_pictures(_renderings(draft / "synthetic", scenes, captions, renderings, seed), pool, advance)
            if flickr8k:
                write_flickr8k(draft / "flickr8k", others, pool)
            for task in later:
                task.result()

    place = Path(os.path.abspath(Path(folder).expanduser()))
    tagger = place.parent / f"{place.name}-tagger"
    make_once(place, recipe, fill)
    return WorldFolders(
        place / "coco",
        place / "flickr8k" if flickr8k else None,
        place / "pick_a_pic" if judgments else None,
        place / "paraphrases.jsonl",
        place / "synthetic" if renderings else None,
        write_tagger(tagger, seed),
    )


def distinct_scenes(n: int, seed: int) -> list[Scene]:
    """The first `n` scenes of a seed that are not described like one before them."""
    found: dict[str, Scene] = {}
    index = 0
    while len(found) < n:
        what = scene(seed, index)
        found.setdefault(what.key, what)
        index += 1
    return list(found.values())


def write_flickr8k(folder: Path, scenes: list[Scene], pool: Executor | None = None) -> None:
    """Scenes as Kaggle publishes Flickr8k, for `vla.stimuli.read_dataset("flickr8k", folder)`; pictures are PNG."""
    (folder / "Images").mkdir(parents=True)
    names = [f"scene_{number:05d}.png" for number in range(len(scenes))]
    write_pictures([(folder / "Images" / name, what, None) for name, what in zip(names, scenes, strict=True)], pool)
    with (folder / "captions.txt").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("image", "caption"))
        for name, what in zip(names, scenes, strict=True):
            rows.writerows((name, caption.text) for caption in describe(what))


def _name(number: int) -> str:
    """The id of an item, counted from 0."""
    return f"{number + 1:012d}"


def _write_paraphrases(path: Path, scenes: list[Scene], captions: list[tuple[Caption, ...]], count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, (what, said) in enumerate(zip(scenes, captions, strict=True)):
            more = [caption.text for caption in paraphrase(what, said, count)]
            entry = {"id": _name(number), "captions": [caption.text for caption in said], "paraphrases": more}
            file.write(json.dumps(entry) + "\n")


def _renderings(
    folder: Path, scenes: list[Scene], captions: list[tuple[Caption, ...]], count: int, seed: int
) -> list[Order]:
    """Every further picture of every scene: the first of each of its captions, then the second, and so on."""
    orders: list[Order] = []
    for number, (what, said) in enumerate(zip(scenes, captions, strict=True)):
        (folder / _name(number)).mkdir(parents=True)
        for picture in range(count):
            caption = said[picture % len(said)]
            rng = Random(f"rendering {seed} {what.key} {what.grain} {picture}")
            record = {"prompt": caption.text, "caption": picture % len(said), "variant": picture // len(said)}
            orders.append((folder / _name(number) / f"{picture:02d}.png", rerender(caption.says, what, rng), record))
    return orders
