"""Where in a batch the items are, so that what is read of it finds its way back to them."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class Places:
    """Where in a batch the items are.

    Attributes:
      items: Numbers of the items, each once.
      rows: The row of the batch that each is in.
      slots: Which of the row's captions each is; 0 for images.
    """

    items: Int[np.ndarray, "N"]
    rows: Int[np.ndarray, "N"]
    slots: Int[np.ndarray, "N"]

    def vectors(self, read: Float[np.ndarray, "R B S D"], pools: int) -> Float[np.ndarray, "P R N D"]:
        """The items' vectors, of all that was read: those of a slot's pools stand side by side."""
        R, B, S, D = read.shape
        return np.moveaxis(read.reshape(R, B, S // pools, pools, D)[:, self.rows, self.slots], 2, 0)


def even_size(items: int, most: int, multiple: int, least: int | None = None) -> int:
    """The size of batches, all alike, that leaves least of them empty; a multiple of `multiple`.

    Args:
      items: How many there are.
      most: About the largest size.
      multiple: What the size has to divide by.
      least: About the smallest size; by default that of as few batches as can be.
    """
    fewest = -(-items // max(most, 1))
    last = fewest if least is None else max(fewest, -(-items // max(least, 1)))
    sizes = [-(-items // batches // multiple) * multiple for batches in range(fewest, last + 1)]
    # of equals the first, which is the largest
    return min(sizes, key=lambda size: -(-items // size) * size)
