"""Writes masks as COCO does: as polygons where these can say it, else as run lengths.

Axis letters: H height, W width.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask


def segmentation(mask: Bool[np.ndarray, "H W"]) -> list[list[int]] | dict[str, Any]:
    """A mask in COCO's form, from which pycocotools draws exactly this mask.

    Polygons go along the pixels' edges, one for each part; a part with a hole in it has none, and the whole mask is
    given as uncompressed run lengths, column by column, as COCO gives crowds.
    """
    polygons = _loops(mask)
    drawn = _drawn(polygons, mask.shape) if polygons else None
    if drawn is not None and np.array_equal(drawn, mask):
        return polygons
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends.tolist(), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _drawn(polygons: list[list[int]], shape: tuple[int, ...]) -> Bool[np.ndarray, "H W"] | None:
    """What pycocotools makes of polygons; None of one too short to be any."""
    if any(len(polygon) < 6 for polygon in polygons):
        return None
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *shape))).astype(bool)


def _loops(mask: Bool[np.ndarray, "H W"]) -> list[list[int]]:
    """The loops of pixel edges around a mask, each as x, y, x, y, ... of its corners, the mask on the right."""
    padded = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    inner = padded[1:-1, 1:-1]
    for beyond, start, end in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    ):
        for y, x in np.argwhere(inner & ~beyond).tolist():
            following.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    loops = []
    while following:
        first = place = next(iter(following))
        corners, direction = [], (0, 0)
        while place in following:
            ends = following[place]
            end = ends.pop()
            if not ends:
                del following[place]
            step = (end[0] - place[0], end[1] - place[1])
            if step != direction:
                corners += place
            place, direction = end, step
            if place == first and place not in following:
                break
        loops.append(corners)
    return loops
