"""Writes the microworld as a folder of pictures with captions, laid out as Flickr8k is published."""

import csv
import os
from pathlib import Path

from PIL import Image

from vla.microworld.captions import describe
from vla.microworld.drawing import draw
from vla.microworld.once import make_once
from vla.microworld.scenes import scene

# Raised whenever the same seed would give other pictures or captions.
VERSION = 2


def write_microworld(folder: str | os.PathLike[str], n: int, seed: int) -> Path:
    """`n` scenes of a seed as `Images/*.png` beside `captions.txt`, for `read_captioned_folder`.

    A folder that already holds these scenes is used again. The first scenes of a larger world are those of a
    smaller one of the same seed. 1,000 scenes take about 5 s and 7 MB.

    Returns:
      The folder's absolute path.

    Raises:
      ValueError: `n` is no positive whole number, or `seed` is negative; or the folder holds something else.
    """
    if isinstance(n, bool) or n < 1:
        raise ValueError(f"n={n!r} scenes cannot be made; expected a positive whole number")
    if seed < 0:
        raise ValueError(f"seed={seed} cannot be used; expected a whole number of 0 or more")

    def fill(draft: Path) -> None:
        (draft / "Images").mkdir()
        with (draft / "captions.txt").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("image", "caption"))
            for index in range(n):
                what, name = scene(seed, index), f"scene_{index:05d}.png"
                Image.fromarray(draw(what)).save(draft / "Images" / name)
                rows.writerows((name, caption.text) for caption in describe(what))

    return make_once(folder, {"what": "scenes", "n": n, "seed": seed, "version": VERSION}, fill)
