"""What the loss of a penalty is at least, without computing it.

n training items, T target layers, a penalties (alphas). C and s are those of `vla.metrics.ridge_spectrum`.
"""

import numpy as np
from jaxtyping import Float

from vla.devices import AnyArray
from vla.metrics.ridge_spectrum import Spectrum

# Contiguous validation blocks (start, stop) of inner k-fold; None stands for leave-one-out.
Blocks = tuple[tuple[int, int], ...] | None


def at_least(
    s: Spectrum, alphas: Float[np.ndarray, " a"], grams: Float[AnyArray, "T n n"], blocks: Blocks
) -> Float[np.ndarray, "T a"]:
    """Losses are at least this: alpha C <= I, so that every diagonal block of it enlarges residuals when inverted, and
    |alpha C Y| >= alpha / (s_max + alpha) |Y| for centred targets. Less a part in ten thousand for rounding."""
    n = s.vectors.shape[0]
    items = n if blocks is None else len(blocks) * max(stop - start for start, stop in blocks)
    power = np.asarray(grams[:, np.arange(n), np.arange(n)], np.float64).sum(axis=1)
    return (1 - 1e-4) * np.outer(power / items, (alphas / (float(s.values[-1]) + alphas)) ** 2)


def share_left(s: Spectrum, alphas: Float[np.ndarray, " a"]) -> Float[np.ndarray, " a"]:
    """Of the root of the leave-one-out loss at the smallest penalty, the share that is left at least at the others.

    With D = diag(C)^-1, which grows with alpha, |D C Y| >= |D_1 C_1 Y| - |D_1 E C_1 Y|, where E = (C_1 - C) C_1^-1 has
    norm q = (alpha - alpha_1) / (s_min + alpha); and |D_1 E C_1 Y| <= q max(D_1) / min(D_1) |D_1 C_1 Y|. Less a part in
    ten thousand for rounding.
    """
    diagonal = np.asarray(s.vectors) ** 2 @ (1 / (np.asarray(s.values) + alphas[0]))
    q = (alphas - alphas[0]) / (float(s.values[0]) + alphas)
    return np.maximum((1 - 1e-4) * (1 - q * diagonal.max() / diagonal.min()), 0.0)
