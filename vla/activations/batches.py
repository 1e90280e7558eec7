"""Which items a batch holds, and how large batches are."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class BatchItems:
    """The items of a batch.

    Attributes:
      items: Number of each item.
      rows: The row of the batch that holds it.
      slots: Which caption of the row it is; 0 for images.
    """

    items: Int[np.ndarray, "N"]
    rows: Int[np.ndarray, "N"]
    slots: Int[np.ndarray, "N"]

    def vectors(self, readouts: Float[np.ndarray, "R B S D"], pools: int) -> Float[np.ndarray, "P R N D"]:
        """The pooled vectors of the items; those of one slot are adjacent in S."""
        R, B, S, D = readouts.shape
        return np.moveaxis(readouts.reshape(R, B, S // pools, pools, D)[:, self.rows, self.slots], 2, 0)


def even_batch_size(items: int, most: int, multiple: int, least: int | None = None) -> int:
    """The batch size that minimises padding, a multiple of `multiple`; of equals the largest.

    It is about `least` to `most`; without `least`, that of the fewest batches.
    """
    fewest = -(-items // max(most, 1))
    last = fewest if least is None else max(fewest, -(-items // max(least, 1)))
    sizes = [-(-items // batches // multiple) * multiple for batches in range(fewest, last + 1)]
    return min(sizes, key=lambda size: -(-items // size) * size)
