"""Writes the report of a run: every figure with what made it, and one self-contained page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vla import progress
from vla.report.drawing import FORMATS, drawn
from vla.report.extras import extra_sections
from vla.report.figures import losses as losses_figure
from vla.report.figures import overview
from vla.report.illustrations import Illustration, illustrations
from vla.report.run_folder import RunFolder, read
from vla.report.sections import section
from vla.report.seen import views
from vla.report.study_page import page
from vla.report.whole import whole
from vla.report.words import anchor

FIGURES = "figures"


def write_report(workdir: Path, formats: Sequence[str] = FORMATS, show_progress: bool = True) -> Path:
    """Write `workdir/report/index.html` and `workdir/figures/`, from what the run left in `workdir` alone.

    The same files give the same bytes; each appears whole or not at all.

    Args:
      workdir: The folder of a run, as of `vla.report.run_folder.read`.
      formats: Of the figures' files, of ".svg", ".png" and ".pdf"; ".svg" is always written.
      show_progress: Show a bar with the time left.

    Returns:
      The page.

    Raises:
      ValueError: as `vla.report.run_folder.read`.
    """
    run = read(workdir)
    _complete(run)
    formats = tuple(dict.fromkeys((".svg", *formats)))
    command = run.run["commands"].get("report") or f"python -m launch.report --workdir={workdir}"
    seen, places = views(run)
    sections = [section(run, experiment, places) for experiment in run.experiments]
    planned = [
        (made, shown, str(experiment.get("figure") or ""))
        for experiment, made in zip(run.experiments, sections, strict=True)
        for shown in (illustrations(run, experiment) if made["ran"] else ())
    ]
    extras = extra_sections(run)
    planned += [(made, shown, "") for made in extras for shown in made["planned"]]
    top, learned = _overview(run), _losses(run)
    for made in (*sections, *extras):
        made["figures"] = []
    with progress.bar("drawing", len(planned) + (top is not None) + (learned is not None), show_progress) as advance:

        def draw(shown: Illustration, figure: str = "") -> dict[str, Any]:
            advance(1)
            return drawn(
                shown, workdir / FIGURES, command, _keys(run, shown), figure if shown.of_paper else "", formats
            )

        for made, shown, figure in planned:
            made["figures"].append(draw(shown, figure))
        overview_drawn = draw(top) if top else None
        losses_drawn = draw(learned) if learned else None
    text = page(run, sections, extras, seen, overview_drawn, losses_drawn)
    whole(workdir / "report" / "index.html", lambda path: path.write_text(text, encoding="utf-8"))
    return workdir / "report" / "index.html"


def _complete(run: RunFolder) -> None:
    """Write the tables that follow from others where the run has not written them."""
    for name, frame in (("plateaus.csv", run.plateaus), ("depth.csv", run.profiles), ("peaks.csv", run.peaks)):
        if not (run.path / name).is_file():
            whole(run.path / name, lambda path, frame=frame: frame.to_csv(path, index=False))


def _keys(run: RunFolder, shown: Illustration) -> list[str]:
    """Keys of the activations behind a figure: those in its rows, or those of its experiment's scores."""
    rows = shown.rows
    if "vision_key" not in rows and "experiment" in rows:
        rows = run.scores.loc[run.scores["experiment"].isin(rows["experiment"].unique())]
    columns = [name for name in ("vision_key", "language_key") if name in rows]
    return list(dict.fromkeys(str(key)[:16] for name in columns for key in rows[name].dropna() if key))


def _overview(run: RunFolder) -> Illustration | None:
    """Every comparison of which the paper printed t, beside that t."""
    rows = run.statistics.loc[run.statistics["paper_t"].notna() & run.statistics["t"].notna()]
    if rows.empty:
        return None
    same = (rows["t"] > 0) == (rows["paper_t"] > 0)
    return Illustration(
        "overview",
        "Paired t of every comparison that the paper prints: filled dots are this run, hollow diamonds the paper. "
        "Right of zero, the intact or preferred condition is higher; inside the grey band a difference is not "
        "significant. The height of t depends on the number of model pairs. Values beyond ±25 stand at the edge.",
        f"{int(same.sum())} of {len(rows)} printed tests have the same sign here as in the paper. "
        + "; ".join(
            f"{row['experiment']} {row['comparison']}, {anchor(row['direction']).replace('-', ' ')}: t {row['t']:.1f}, "
            f"the paper {row['paper_t']:.1f}"
            for row in rows.to_dict("records")
        )
        + ".",
        lambda: overview.draw(rows),
        rows,
        "statistics.csv",
    )


def _losses(run: RunFolder) -> Illustration | None:
    """Losses of the models that carry them."""
    models: list[Mapping[str, Any]] = [model for model in run.run["models"] if model.get("losses")]
    if not models:
        return None
    rows = pd.concat(
        [pd.DataFrame({"model": m["name"], "step": m["losses"]["steps"], "loss": m["losses"]["loss"]}) for m in models],
        ignore_index=True,
    )
    said = "; ".join(
        f"{m['name']} from {m['losses']['loss'][0]:.2f} to {m['losses']['loss'][-1]:.2f}"
        + (f", baseline {m['losses']['baseline']:.2f}" if m["losses"].get("baseline") is not None else "")
        for m in models
    )
    return Illustration(
        "losses",
        "Loss of every model along its training; dashed, a baseline that knows only how often each answer occurs.",
        f"Training losses: {said}.",
        lambda: losses_figure.draw(models),
        rows,
        "run.json",
    )
