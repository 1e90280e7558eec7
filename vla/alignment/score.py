"""Score every layer of one set of activations against every layer of another."""

import dataclasses
import json
from typing import Any

import numpy as np
import xarray as xr

from vla import progress
from vla.activations.labels import as_activations, join
from vla.alignment.inference import significance
from vla.metrics import Metric, RidgeSettings, find, find_protocol
from vla.metrics.linear_predictivity import Table


def score(
    x: Any,
    y: Any,
    metric: Any = "linear_predictivity",
    protocol: str = "paper",
    seed: Any = 42,
    null: Any = 0,
    show_progress: bool = False,
    **overrides: Any,
) -> Any:
    """Alignment of all layer pairs; a directed metric predicts `y` from `x`.

    Args:
      x: Activations [layer, item, unit] or [item, unit], as a DataArray or an array.
      y: Activations of the same items. Item names, where both have them, must agree; `y` is brought to the
        order of `x`.
      metric: A name from `vla.metrics()`, or a list of names.
      protocol: "paper", or "khosla_lab" (raw targets, test-fold statistics): named defaults of the settings.
      seed: Seed of the outer folds and of the null's permutations, in 0..2**32 - 1.
      null: Number of scores with the correspondence of items shuffled; one permutation serves all layer pairs.
      show_progress: Show a bar with the time left.
      **overrides: For linear_predictivity, fields of `vla.metrics.RidgeSettings`: alphas, outer_folds, inner_cv,
        alpha_per_target, standardize_targets, test_statistics, groups. For other metrics, the fields of their
        `vla.metrics()[name].settings`. Of a list of metrics, each is given those that it knows.

    Returns:
      A Dataset; of a list of metrics, a dict of Datasets by name. It has `score` (x_layer, y_layer); with a null
      also `null_score` (permutation, x_layer, y_layer) and what `vla.alignment.inference.significance` makes of it:
      `p_value`, `p_max` (against the best of all pairs), `q_value`, `null_mean` and `calibrated`.
      A directed metric adds, per fold, `fold_score`, `alpha` and `undefined`, the number of target units that
      were left out because they or their prediction are constant; and `edge_share`, the share of fits that chose the
      smallest or largest penalty there is, which may mean that a wider range is needed. A score is NaN where nothing
      is defined, as for a layer that is the same for every item. The attributes say how it was computed.

    Raises:
      ValueError: Unknown metric, protocol or setting; activations that are not finite; items that do not match
        or are too few.
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    found = [find(name) for name in names]
    if not found or len(set(names)) < len(names):
        raise ValueError(f"metric={metric!r}: expected the name of a metric, or a list of different names.")
    _whole("seed", seed, 2**32 - 1)
    _whole("null", null)
    chosen = _settings(found, protocol, int(seed), overrides)
    x, y = join(as_activations(x, "x"), as_activations(y, "y"))
    dtype = np.result_type(x.dtype, y.dtype)
    values = [np.ascontiguousarray(side.values, dtype) for side in (x, y)]
    n_items = x.sizes["item"]
    rng = np.random.default_rng(seed)
    pairings = np.stack([np.arange(n_items), *(rng.permutation(n_items) for _ in range(null))])
    results = {}
    for facts, settings in zip(found, chosen, strict=True):
        cells = len(pairings) * x.sizes["layer"] * y.sizes["layer"] * getattr(settings, "outer_folds", 1)
        with progress.bar(f"scoring {facts.name}", cells, show_progress) as advance:
            table = facts.all_pairs(*values, settings=settings, pairings=pairings, advance=advance)
        result = _with_folds(table, settings.alphas) if isinstance(table, Table) else _with_null(xr.Dataset(), table)
        if null:
            result = result.merge(significance(result, facts.perfect, facts.lowest))
        results[facts.name] = result.assign_coords(x_layer=x["layer"].values, y_layer=y["layer"].values).assign_attrs(
            metric=facts.name,
            protocol=protocol,
            seed=int(seed),
            n_items=n_items,
            null=int(null),
            # As text: attributes of zarr and netCDF hold no nested values.
            settings=json.dumps(dataclasses.asdict(settings), default=_plain),
        )
    return results[metric] if isinstance(metric, str) else results


def _whole(name: str, value: Any, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= (most or value):
        limit = "0 or more" if most is None else f"0 to {most}"
        raise ValueError(f"{name}={value!r}: expected a whole number, {limit}.")


def _plain(value: Any) -> list:
    """What JSON makes of a setting that is an array or a sequence of labels."""
    return np.asarray(value).tolist()


def _settings(metrics: list[Metric], protocol: str, seed: int, overrides: dict[str, Any]) -> list[Any]:
    """The settings of each metric; an override that none of them knows is refused."""
    defaults = find_protocol(protocol)
    known = {metric.name: {field.name for field in dataclasses.fields(metric.settings)} for metric in metrics}
    every = sorted(set().union(*known.values()) - {"seed"})
    unknown = sorted(set(overrides) - set(every))
    if unknown:
        expected = f"expected some of {every}" if every else "it has no settings"
        raise ValueError(f"{', '.join(known)} does not know the settings {unknown}; {expected}.")
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in overrides.items()}
    _whole("outer_folds", plain.get("outer_folds", 2))
    plain["seed"] = seed
    chosen = []
    for metric in metrics:
        base = defaults if issubclass(metric.settings, RidgeSettings) else {}
        own = {name: value for name, value in plain.items() if name in known[metric.name]}
        chosen.append(metric.settings(**{**base, **own}))
    return chosen


def _with_folds(table: Table, alphas: tuple[float, ...]) -> xr.Dataset:
    """Scores as the mean over folds, with what is known of each fold."""
    defined = ~np.isnan(table.fold_score)
    count = defined.sum(axis=-1)
    mean = np.where(defined, table.fold_score, 0).sum(axis=-1) / np.maximum(count, 1)
    pair = ("x_layer", "y_layer", "fold")
    alpha_dims = pair if table.alpha.ndim == 4 else (*pair, "y_unit")
    result = xr.Dataset(
        {
            "fold_score": (pair, table.fold_score[0]),
            "alpha": (alpha_dims, table.alpha[0]),
            "undefined": (pair, table.undefined[0]),
        }
    )
    at_edge = np.isin(table.alpha[0], (alphas[0], alphas[-1]))
    result["edge_share"] = (pair[:2], at_edge.reshape(*at_edge.shape[:2], -1).mean(axis=2))
    return _with_null(result, np.where(count > 0, mean, np.nan))


def _with_null(result: xr.Dataset, scores: np.ndarray) -> xr.Dataset:
    result = result.assign(score=(("x_layer", "y_layer"), scores[0]))
    if len(scores) > 1:
        result = result.assign(null_score=(("permutation", "x_layer", "y_layer"), scores[1:]))
    return result
