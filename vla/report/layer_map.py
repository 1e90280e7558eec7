"""What a layer map leaves on disk: tidy table, full results, heat maps and one page."""

from pathlib import Path

import pandas as pd
import xarray as xr

from vla.experiments.layer_map import LayerMap, open_scores, open_store, score_all
from vla.report import heat_map
from vla.report.page import write_page
from vla.report.summary import summarise
from vla.report.whole import whole

_KEYS = ("vision_model", "language_model", "metric", "direction")


def write(plan: LayerMap, workdir: Path, show_progress: bool = True, note: str = "") -> pd.DataFrame:
    """Score the stored activations of a plan and write all there is to see under `workdir`.

    `scores/` (the score store, from which a killed run goes on), `scores.parquet` and `scores.csv` (tidy),
    `summary.csv`, `results/*.zarr` (every full result of `vla.score`), `figures/*.png` and `*.svg`,
    `report/index.html`. Each of them appears whole or not at all.

    Args:
      plan: What to compare.
      workdir: Where to write.
      show_progress: Show bars with the time left.
      note: What a reader of the page must know before trusting its numbers.

    Returns:
      The summary: one row per model pair, metric, direction and condition.

    Raises:
      ValueError: Activations are not in the store.
    """
    table, results = score_all(plan, open_store(plan, workdir), open_scores(workdir), show_progress)
    summary = summarise(table)
    whole(workdir / "scores.parquet", lambda path: table.to_parquet(path, index=False))
    whole(workdir / "scores.csv", lambda path: table.to_csv(path, index=False))
    whole(workdir / "summary.csv", lambda path: summary.to_csv(path, index=False))
    figures = {}
    for name, result in results.items():
        flat = name.replace("/", "--")
        whole(workdir / "results" / f"{flat}.zarr", lambda path, result=result: _write_zarr(result, path))
        figure = heat_map.draw(table.loc[(table[list(_KEYS)] == [result.attrs[key] for key in _KEYS]).all(axis=1)])
        for suffix in (".png", ".svg"):
            whole(workdir / "figures" / f"{flat}{suffix}", lambda path, figure=figure: heat_map.save(figure, path))
        vision, language, metric, direction = (result.attrs[key] for key in _KEYS)
        words = f"{metric}, {direction.replace('_', ' ')}: {vision} and {language}"
        figures[words] = workdir / "figures" / f"{flat}.png"
    whole(workdir / "report" / "index.html", lambda path: write_page(path, plan, summary, figures, note))
    return summary


def _write_zarr(result: xr.Dataset, path: Path) -> None:
    # As objects, names are stored as strings of any length. Format 2 because its consolidated metadata are part of
    # the format, so that `xarray.open_zarr` reads it without a warning.
    names = {axis: result[axis].astype(object) for axis in ("x_layer", "y_layer")}
    result.assign_coords(names).to_zarr(path, zarr_format=2)
