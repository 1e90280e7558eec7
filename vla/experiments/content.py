"""What carries the alignment of two models: which dimensions, which items, which kinds of content."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vla.activations.labels import as_activations, join
from vla.alignment.content_groups import by_group, by_level, rank_correlation
from vla.alignment.held_out import FoldMap, HeldOut, fold_maps, held_out, ridge_settings
from vla.alignment.item_scores import item_scores
from vla.alignment.map_spectrum import effective_dimension, extremes, map_spectrum
from vla.experiments.item_facts import ItemFacts
from vla.metrics.ridge_settings import RidgeSettings

CONCRETENESS, SUPERCATEGORY = "concreteness", "supercategory"
LEVELS = ("abstract", "middle", "concrete")


@dataclasses.dataclass(frozen=True)
class Content:
    """The tables of one direction of one layer pair; `vla.experiments.content.NAMES` are their file names.

    Attributes:
      items: Per item: the scores of `vla.alignment.item_scores`, caption, concreteness, supercategories.
      spectrum: Per direction of the map: see `vla.alignment.map_spectrum`; the effective dimension in every row.
      directions: Items at the ends of the leading directions.
      content: Per kind of content: see `vla.alignment.content_groups`.
    """

    items: pd.DataFrame
    spectrum: pd.DataFrame
    directions: pd.DataFrame
    content: pd.DataFrame


NAMES = {"items": "items.parquet", "spectrum": "spectrum.csv", "directions": "directions.csv", "content": "content.csv"}


def content(
    x: Any,
    y: Any,
    facts: ItemFacts,
    *,
    settings: RidgeSettings | None = None,
    n_directions: int = 5,
    n_extreme: int = 5,
    score: str = "correlation",
) -> Content:
    """Predict `y` from `x`, one layer each, and look into the map and into its held-out predictions.

    Args:
      x: Activations of one layer, the predictor; items named.
      y: Activations of one layer of the same items, the target.
      facts: Of the items.
      settings: Of the ridge map, as of `vla.alignment.held_out.ridge_settings`; its seed is the bootstrap's too;
        None takes the paper's.
      n_directions: How many leading directions have their extreme items listed.
      n_extreme: How many items at each end.
      score: Which score of an item is compared between kinds of content: "correlation" or "match".

    Raises:
      ValueError: several layers; a bad setting; an item without a caption; or as `vla.alignment.held_out`.
    """
    if score not in ("correlation", "match"):
        raise ValueError(f"score={score!r}; expected one of correlation, match")
    x, y = join(as_activations(x, "x"), as_activations(y, "y"))
    for role, array in (("x", x), ("y", y)):
        if array.sizes["layer"] != 1:
            raise ValueError(f"{role} has {array.sizes['layer']} layers: select one, such as x.isel(layer=[-2])")
    names = [str(name) for name in x["item"].values.tolist()]
    lacking = [name for name in names if name not in facts.captions]
    if lacking:
        raise ValueError(f"item {lacking[0]!r} and {len(lacking) - 1} others have no caption in the facts")
    settings = settings or ridge_settings()
    from_x, to_y = x.values[0], y.values[0]
    maps = list(fold_maps(from_x, to_y, settings))
    out = held_out(maps)
    items = _with_facts(item_scores(out, names), facts)
    scores = dict(zip(names, items[score], strict=True))
    return Content(
        items,
        _spectrum(maps),
        _extreme_items(from_x, to_y, out, settings, items, n_directions, n_extreme),
        _kinds(scores, facts, score, settings.seed),
    )


def tagged(table: pd.DataFrame, **words: Any) -> pd.DataFrame:
    """The table with columns before its own that say what it is of, such as vision_model and direction."""
    return pd.concat([pd.DataFrame(words, index=table.index), table], axis=1)


def write_content(parts: Sequence[Content], folder: Path) -> list[Path]:
    """The tables of several model pairs and directions in one file each, put in place whole; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for field, name in NAMES.items():
        table = pd.concat([getattr(part, field) for part in parts], ignore_index=True)
        path, draft = folder / name, folder / f".{name}.draft"
        if path.suffix == ".parquet":
            table.to_parquet(draft, index=False)
        else:
            table.to_csv(draft, index=False)
        draft.replace(path)
        paths.append(path)
    return paths


def _with_facts(items: pd.DataFrame, facts: ItemFacts) -> pd.DataFrame:
    names = items["item"].tolist()
    kinds = [";".join(facts.supercategories[n]) if n in facts.supercategories else None for n in names]
    return items.assign(
        caption=[facts.captions[name] for name in names],
        concreteness=[float(facts.concreteness.get(name, np.nan)) for name in names],
        supercategories=pd.array(kinds, dtype="string"),
    )


def _spectrum(maps: list[FoldMap]) -> pd.DataFrame:
    spectrum = map_spectrum(maps)
    dimension = effective_dimension(spectrum["shared_share"].to_numpy())
    of_target = float(np.mean([effective_dimension(_variances(one)) for one in maps]))
    return spectrum.assign(effective_dimension=dimension, target_dimension=of_target)


def _variances(one: FoldMap) -> np.ndarray:
    """Variances of the held-out target along its own principal directions."""
    centred = one.actual - one.actual.mean(axis=0)
    return np.linalg.svd(centred, compute_uv=False)[: len(one.test) - 1] ** 2


def _extreme_items(
    x: np.ndarray,
    y: np.ndarray,
    out: HeldOut,
    settings: RidgeSettings,
    items: pd.DataFrame,
    n_directions: int,
    n_extreme: int,
) -> pd.DataFrame:
    """The items at both ends of every leading direction, the outermost first."""
    found = extremes(x, y, out, settings, n_directions)
    rows = []
    for direction in range(found.directions.shape[1]):
        order = np.argsort(found.predicted[:, direction], kind="stable")
        for end, places in (("high", order[::-1][:n_extreme]), ("low", order[:n_extreme])):
            for place, row in enumerate(places, start=1):
                rows.append(
                    {
                        "rank": direction + 1,
                        "end": end,
                        "place": place,
                        "item": items["item"].iloc[row],
                        "predicted": found.predicted[row, direction],
                        "actual": found.actual[row, direction],
                        "caption": items["caption"].iloc[row],
                    }
                )
    return pd.DataFrame(rows)


def _kinds(scores: dict[str, float], facts: ItemFacts, score: str, seed: int) -> pd.DataFrame:
    """One row per kind of content, and one of the rank correlation with concreteness, whose `mean` is rho."""
    tables = []
    levels = {name: value for name, value in facts.concreteness.items() if name in scores and np.isfinite(value)}
    if len(levels) >= len(LEVELS):
        thirds = by_group(scores, by_level(levels, len(LEVELS), LEVELS), seed=seed)
        tables.append(thirds.assign(kind=CONCRETENESS, statistic=f"mean {score}"))
        rho = rank_correlation(scores, levels, seed=seed)
        whole = {"group": "rank correlation", "mean": rho.pop("rho"), **rho, "statistic": "Spearman rho"}
        tables.append(pd.DataFrame([{**whole, "kind": CONCRETENESS}]))
    if any(facts.supercategories.get(name) for name in scores):
        kinds = by_group(scores, facts.supercategories, seed=seed)
        tables.append(kinds.assign(kind=SUPERCATEGORY, statistic=f"mean {score}"))
    columns = ["kind", "group", "statistic", "n_items", "mean", "ci_low", "ci_high", "n_rest", "difference"]
    columns += ["difference_ci_low", "difference_ci_high", "note"]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=columns)
