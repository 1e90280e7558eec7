"""The penalty that inner cross-validation chooses, for every target layer at once.

n training items, T target layers, e target units, a penalties (alphas).
"""

import numpy as np
from jaxtyping import Float
from sklearn.model_selection import KFold

from vla.devices import AnyArray
from vla.metrics.ridge_losses import Blocks, Losses, losses, unit_losses
from vla.metrics.ridge_spectrum import Spectrum


def inner_blocks(n: int, inner_cv: str | int) -> Blocks:
    """Validation blocks of inner cross-validation: contiguous, or None for leave-one-out.

    Equivalent to `KFold(inner_cv)` without shuffling, as scikit-learn uses for an integer `cv`.

    Raises:
      ValueError: More folds than items.
    """
    if isinstance(inner_cv, str):
        return None
    if inner_cv > n:
        raise ValueError(f"inner_cv={inner_cv} folds but only {n} training items: use at most {n}, or 'loo'.")
    return tuple((int(test[0]), int(test[-1]) + 1) for _, test in KFold(inner_cv).split(np.empty(n)))


def choose_shared(
    s: Spectrum,
    alphas: Float[AnyArray, " a"],
    grams: Float[AnyArray, "T n n"],
    y: Float[AnyArray, "T n e"],
    scale: Float[AnyArray, "T e"],
    blocks: Blocks,
) -> np.ndarray:
    """Index of the best penalty per target layer; the smallest of equals, as scikit-learn takes it.

    Where the Gram products cannot tell the best from the second best within their rounding error (near-perfect
    prediction, or a flat loss), the candidates are compared by their residuals in float64.

    Args:
      s: Spectrum of the predictor layer.
      alphas: Penalties, positive, ascending.
      grams: Y Y^T / e of every target layer.
      y: The training targets, z-scored.
      scale: Per unit, what makes of `y` the Y of `grams`.
      blocks: Inner folds.
    """
    if not np.any(s.values):  # a layer that is the same for every item predicts the same with every penalty
        return np.zeros(len(grams), np.int64)
    loss, noise = _usable(losses(s, alphas, grams, blocks))
    close = _close(loss, noise)
    if blocks is not None and grams.dtype != np.float64:
        # All that may win, for all targets at once, before any target is looked at on its own.
        again = np.flatnonzero(close[close.sum(axis=1) > 1].any(axis=0))
        if len(again):
            # Filled up to a power of two, so that few shapes are compiled.
            padded = np.resize(again, 1 << (len(again) - 1).bit_length())
            better = _usable(losses(s, alphas[np.sort(padded)], grams, blocks, careful=True))
            first = np.searchsorted(np.sort(padded), again)
            loss[:, again], noise[:, again] = (part[:, first] for part in better)
            close = _close(loss, noise)
    best = np.argmin(loss, axis=1)
    # Constant targets have no loss to compare.
    unsure = (close.sum(axis=1) > 1) & np.any(np.isfinite(loss) & (loss != 0), axis=1)
    for t in np.flatnonzero(unsure):
        candidates = np.flatnonzero(close[t])
        # Padded to a power of two, so that few shapes are compiled; the first of equals is taken.
        padded = np.resize(candidates, 1 << (len(candidates) - 1).bit_length())
        exact = np.asarray(unit_losses(s, alphas[padded], y[t] * scale[t], blocks)).mean(axis=1)
        best[t] = padded[np.argmin(exact)]
    return best


def _usable(found: Losses) -> tuple[np.ndarray, np.ndarray]:
    """Losses with their noise; infinite where there is none."""
    loss, noise = (np.array(part) for part in found)
    # An item that alone decides a direction has leverage 1 under a vanishing penalty: 0 / 0, a penalty of no use.
    usable = np.isfinite(loss) & np.isfinite(noise)
    return np.where(usable, loss, np.inf), np.where(usable, noise, 0.0)


def _close(loss: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Which penalties may be the best of their target."""
    return loss - noise <= np.min(loss + noise, axis=1, keepdims=True)
