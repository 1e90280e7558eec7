"""The length of captions as if it were a layer: a baseline that knows nothing of what they say.

Length is decodable from a mean over tokens, and filters such as nouns only change it: what caption length alone
predicts of a vision model is not meaning.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from vla.activations.labels import label

LAYER = "length"


def caption_lengths(
    captions: Sequence[str], items: Sequence | None = None, tokens: Sequence[int] | None = None
) -> xr.DataArray:
    """Lengths of captions as activations of one layer, to be scored as any other by `vla.score`.

    Args:
      captions: One per item, as the language model sees them.
      items: Their names; None numbers them.
      tokens: Number of tokens of each, if it is to be a unit as well.

    Returns:
      float64 DataArray (layer, item, unit) of the single layer "length"; units are characters, words parted by white
      space, their logarithms (of length + 1), and those of the tokens.

    Raises:
      ValueError: Another number of names or tokens than captions, or no captions.
    """
    if not len(captions):
        raise ValueError("There are no captions: give at least one.")
    for name, given in (("item names", items), ("numbers of tokens", tokens)):
        if given is not None and len(given) != len(captions):
            raise ValueError(f"{len(given)} {name} for {len(captions)} captions: give one each.")
    counts = [[len(caption) for caption in captions], [len(caption.split()) for caption in captions]]
    counts += [] if tokens is None else [[int(count) for count in tokens]]
    lengths = np.array(counts, np.float64).T
    units = np.concatenate([lengths, np.log1p(lengths)], axis=1)
    return label(units[None], [LAYER], range(len(captions)) if items is None else list(items), name="caption length")
