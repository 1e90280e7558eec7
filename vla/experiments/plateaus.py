"""Where averaging curves flatten, as a table with intervals over vision and language models as crossed factors."""

import dataclasses
import math
from collections.abc import Collection

import pandas as pd

from vla.alignment.plateau import Plateau, plateau
from vla.metrics import sign

COLUMNS = (
    "experiment", "series", "dataset", "metric", "direction", "n_pairs", "n_items", "most", "k", "k_low", "k_high",
    "first_flat", "level", "level_low", "level_high", "gain", "gain_low", "gain_high", "note",
)  # fmt: skip
FEWEST = 4
_ONE = ["experiment", "series", "metric", "direction"]
_PAIR = ["vision_model", "language_model"]
_RESAMPLES = 1000


def plateaus(curves: pd.DataFrame, along_training: Collection[str] = ()) -> pd.DataFrame:
    """One row per curve, metric and direction, by `vla.alignment.plateau`.

    Args:
      curves: As of `vla.experiments.assemble.curves`; scores of several fold seeds are averaged. Curves over numbers of
        items average nothing and are left out.
      along_training: Ids of experiments whose curves are over steps of training, which are left out likewise.

    Returns:
      `COLUMNS`: `most` is the last count measured; `k` the count with all but 5 % of the fitted gain, infinite where
      that is beyond `most`; `level` the height of the plateau, `gain` how much better it is than the first count
      (of a distance what it is below it); NaN with the
      reason in `note` where nothing can be said. The ends of intervals are NaN with fewer than two models on a side.
    """
    over_exemplars = _averaged(curves, along_training)
    rows = [_row(dict(zip(_ONE, key, strict=True)), own) for key, own in over_exemplars.groupby(_ONE, sort=False)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _averaged(curves: pd.DataFrame, along_training: Collection[str]) -> pd.DataFrame:
    """The rows of curves over exemplars."""
    if curves.empty:
        return curves
    names = curves["series"].astype(str)
    return curves.loc[(names != "items") & ~curves["experiment"].astype(str).isin(list(along_training))]


def _row(of: dict[str, str], rows: pd.DataFrame) -> dict:
    wide = rows.pivot_table(index=_PAIR, columns="k", values="score", sort=True)
    counts = [float(k) for k in wide.columns]
    if len(counts) < FEWEST:
        why = f"{len(counts)} counts: a curve is fitted to {FEWEST} or more"
        at = Plateau(*[math.nan] * 10, n_pairs=len(wide), note=why)
    else:
        models = (list(wide.index.get_level_values(name)) for name in _PAIR)
        # Oriented, so that averaging gains where a distance falls.
        better = sign(str(of["metric"]))
        at = plateau(better * wide.to_numpy(float), counts, *models, resamples=_RESAMPLES)
        if better < 0:
            at = dataclasses.replace(at, level=-at.level, level_low=-at.level_high, level_high=-at.level_low)
    own = {name: rows[name].iloc[0] for name in ("dataset", "n_items") if name in rows}
    return {**of, **own, "most": counts[-1] if counts else math.nan, **dataclasses.asdict(at)}
