"""Draws a seeded sample of a dataset."""

import dataclasses

from vla.checks import check_whole_number
from vla.records import Dataset, canonical_hash


def sample(dataset: Dataset, n: int | str | None, seed: int) -> Dataset:
    """`n` items of a dataset drawn at random without replacement.

    Items are put in the order of a hash of seed and id, and the first `n` are taken. So the sample does not
    depend on the order in which items were read, on the machine, or on a library's random stream; samples of
    one seed are nested (the sample of 500 is the first half of the sample of 1,000); and an item missing
    from the dataset changes no other item's place.

    Args:
      dataset: What to draw from.
      n: How many items; None or "all" for every item, in the dataset's own order.
      seed: Which sample; any whole number.

    Raises:
      ValueError: `n` is larger than the dataset, or not a positive whole number.
    """
    check_whole_number("n", n, other=["all", None])
    if n is None or isinstance(n, str):
        return dataset
    if n > len(dataset):
        raise ValueError(
            f"a sample of {n} items was asked for, but {dataset.name} has {len(dataset)}; "
            f'ask for at most {len(dataset)}, or for n="all"'
        )
    drawn = sorted(dataset.items, key=lambda item: canonical_hash([seed, item.id]))
    return dataclasses.replace(dataset, items=tuple(drawn[:n]))
