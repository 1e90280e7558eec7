"""Scores of stored activations in blocks of layers, so that an interrupted run loses at most a block."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from vla import progress
from vla.activations.labels import as_activations, join
from vla.alignment.duplicates import settle_groups
from vla.alignment.measure import measure, same_precision, steps
from vla.alignment.score import conclude
from vla.alignment.score_store import ScoreRecipe, ScoreStore
from vla.alignment.task import Task

# Layers of x that are scored together with all layers of y. Smaller blocks lose less to an interruption, but the layers
# of y are prepared again for every block.
BLOCK_LAYERS = 8


def score_blocks(
    x: Any | Callable[[], Any],
    y: Any | Callable[[], Any],
    recipe: ScoreRecipe,
    store: ScoreStore,
    show_progress: bool = False,
    block_layers: int = BLOCK_LAYERS,
) -> None:
    """Compute the result of `vla.score` unless the store has it; `store.read(recipe)` returns it.

    An interrupted run resumes with the blocks that it had not finished, and ends with the same bytes as a run without
    interruption, because a block does not depend on other blocks.

    Args:
      x: Activations of the predictor as `vla.score` takes them, or a function that returns them, which is called only
        if something must be computed.
      y: Activations of the target, or such a function.
      recipe: Determines the result.
      store: Holds the result and the finished blocks.
      show_progress: Show a progress bar.
      block_layers: Layers of x in a block.

    Raises:
      ValueError: As `vla.score` and `ScoreStore`; finished blocks are kept, and no unfinished table looks finished.
    """
    if store.has(recipe):
        return
    x, y = (side() if callable(side) else side for side in (x, y))
    x, y = join(as_activations(x, "x"), as_activations(y, "y"))
    values = same_precision(x.values, y.values)
    (task,), count = settle_groups([recipe.task], x, y), x.sizes["layer"]
    blocks = [(start, min(start + block_layers, count)) for start in range(0, count, block_layers)]
    title = ", ".join([*recipe.labels.values(), task.metric.name])
    try:
        measured = _measured(task, values, blocks, recipe, store, title, show_progress)
    except ValueError:
        if not store.has(recipe):
            raise
        # Another process has finished this table and removed the blocks.
        store.remove_blocks(recipe)
        return
    keys = {"x_key": recipe.keys[0], "y_key": recipe.keys[1], "key": recipe.key}
    store.write(recipe, conclude(task, measured, x, y).assign_attrs({**recipe.labels, **keys, "title": title}))


def _measured(
    task: Task,
    values: tuple[np.ndarray, np.ndarray],
    blocks: list[tuple[int, int]],
    recipe: ScoreRecipe,
    store: ScoreStore,
    title: str,
    show_progress: bool,
) -> xr.Dataset:
    """The measurements of all layers: blocks of the store, and the missing blocks, which are computed."""
    stored, measured = store.blocks(recipe), None
    cells = functools.partial(steps, task, y_layers=len(values[1]), n_items=values[0].shape[1])
    with progress.bar(f"scoring {title}", cells(len(values[0])), show_progress) as advance:
        for start, stop in blocks:
            if (start, stop) in stored:
                advance(cells(stop - start))
            else:
                (measured,) = measure([task], values[0][start:stop], values[1], advance)
                if len(blocks) > 1:  # a single block is the table, which the caller stores
                    store.write_block(recipe, (start, stop), measured)
    if len(blocks) == 1 and measured is not None:
        return measured
    parts = [store.read_block(recipe, block) for block in blocks]
    most = max(part.sizes.get("permutation", 0) for part in parts)
    if most:  # blocks may need different numbers of permutations
        parts = [part.pad(permutation=(0, most - part.sizes["permutation"])) for part in parts]
    return xr.concat(parts, dim="x_layer", data_vars="minimal")
