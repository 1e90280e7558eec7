"""A small made-up group for the store, its values, and the bytes of a folder."""

from pathlib import Path

import numpy as np

from vla.activations.store import Recipe, Store

LAYERS = ("embed", "block_1", "final_norm")


def make_recipe(n_items: int = 10) -> Recipe:
    return Recipe(
        determines={"pool": "cls", "numerics_version": 1},
        words={"model": "net", "view": "world/original", "source": "some/net"},
        layers=LAYERS,
        items=tuple(f"item {i}.jpg" for i in range(n_items)),
        width=5,
    )


def values(recipe: Recipe) -> np.ndarray:
    shape = (len(recipe.layers), len(recipe.items), recipe.width)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def write(store: Store, recipe: Recipe) -> list[tuple[int, int]]:
    """What an extraction does with values that are known; returns the chunks that were still to do."""
    writer = store.writer(recipe)
    pending = [] if writer.finished else writer.pending
    for start, stop in pending:
        writer.write((start, stop), values(recipe)[:, start:stop])
    writer.publish()
    return pending


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
