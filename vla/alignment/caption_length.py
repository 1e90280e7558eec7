"""The length of captions as activations: a baseline for language models that ignores meaning.

The mean over tokens encodes the length of a caption, and filters such as nouns-only change the length. An alignment
that caption length alone reaches is therefore no evidence of shared meaning.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from vla.activations.labels import label

LAYER = "length"


def caption_lengths(
    captions: Sequence[str], items: Sequence[str | int] | None = None, tokens: Sequence[int] | None = None
) -> xr.DataArray:
    """Lengths of captions as activations of a single layer, for `vla.score`.

    Args:
      captions: One caption per item, as shown to the language model.
      items: Item names; None numbers the items.
      tokens: Number of tokens of each caption; None leaves this unit out.

    Returns:
      float64 DataArray (layer, item, unit) with the layer "length". The units are the numbers of characters, of words
      separated by white space and of tokens, then log(1 + n) of each.

    Raises:
      ValueError: No captions, or `items` or `tokens` of another length.
    """
    if not len(captions):
        raise ValueError("There are no captions: give at least one.")
    for name, values in (("item names", items), ("numbers of tokens", tokens)):
        if values is not None and len(values) != len(captions):
            raise ValueError(f"{len(values)} {name} for {len(captions)} captions: give one for each caption.")
    counts = [[len(caption) for caption in captions], [len(caption.split()) for caption in captions]]
    lengths = np.array([*counts, *([] if tokens is None else [tokens])], np.float64).T
    units = np.concatenate([lengths, np.log1p(lengths)], axis=1)
    return label(units[None], [LAYER], range(len(captions)) if items is None else items, name="caption length")
