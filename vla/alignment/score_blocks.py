"""Scores of stored activations, block of layer pairs by block, so that a kill costs one block."""

from collections.abc import Callable
from typing import Any

import xarray as xr

from vla import progress
from vla.activations.labels import as_activations, join
from vla.alignment.conclude import conclude
from vla.alignment.duplicates import settle_groups
from vla.alignment.measure import measure, same_precision, steps
from vla.alignment.score_recipe import ScoreRecipe
from vla.alignment.score_store import ScoreStore

# Layers of x that are scored together with all layers of y: what a kill can cost. The layers of y are prepared again
# for every block.
BLOCK_LAYERS = 8


def score_blocks(
    x: Any | Callable[[], Any],
    y: Any | Callable[[], Any],
    recipe: ScoreRecipe,
    store: ScoreStore,
    show_progress: bool = False,
    block_layers: int = BLOCK_LAYERS,
) -> None:
    """See to it that the store has the result of `vla.score`: `store.read(recipe)` gives it.

    Nothing is computed that is there. A killed run continues with the blocks that it had not finished, and ends with
    the same bytes as one that was not killed: each block is computed on its own, in the same way whatever is there
    already.

    Args:
      x: The predictor's activations as `vla.score` takes them, or a function without arguments that gives them, which
        is called only if something is to be computed.
      y: The target's, likewise.
      recipe: What determines the result.
      store: Where it is kept.
      show_progress: Show a bar with the time left.
      block_layers: Layers of x in a block.

    Raises:
      ValueError: As `vla.score` and `ScoreStore`; what was finished before is kept, and nothing looks finished.
    """
    if store.has(recipe):
        return
    x, y = (side() if callable(side) else side for side in (x, y))
    x, y = join(as_activations(x, "x"), as_activations(y, "y"))
    values = same_precision(x.values, y.values)
    (task,), count = settle_groups([recipe.task], x, y), x.sizes["layer"]
    blocks = [(start, min(start + block_layers, count)) for start in range(0, count, block_layers)]
    there, found = store.blocks(recipe), None
    words = [*recipe.words.values(), task.metric.name]
    with progress.bar(f"scoring {', '.join(words)}", steps(task, *(side.sizes["layer"] for side in (x, y))),
                      show_progress) as advance:  # fmt: skip
        for start, stop in blocks:
            if (start, stop) in there:
                advance(steps(task, stop - start, y.sizes["layer"]))
            else:
                found = measure(task, values[0][start:stop], values[1], advance)
                if len(blocks) > 1:  # else it is the whole table, which is kept at once
                    store.write_block(recipe, (start, stop), found)
    if len(blocks) == 1 and found is not None:
        measured = found
    else:
        parts = [store.read_block(recipe, block) for block in blocks]
        measured = xr.concat(parts, dim="x_layer", data_vars="minimal")
    said = {"x_key": recipe.keys[0], "y_key": recipe.keys[1], "key": recipe.key, "title": ", ".join(words)}
    store.write(recipe, conclude(task, measured, x, y).assign_attrs({**recipe.words, **said}))
