"""Writes the report of a run: every figure with what made it, and one self-contained page."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from vla import progress
from vla.experiments.experiment import Paper
from vla.experiments.run_folder import RECORD, files
from vla.experiments.unchanged import still_made, unchanged, write_record
from vla.records import file_hash
from vla.report.all_figures import FIGURES, draw_all, planned
from vla.report.claims import comparison_claims
from vla.report.drawing import FORMATS
from vla.report.extras import extra_sections
from vla.report.run_folder import RunFolder, read
from vla.report.sections import section
from vla.report.seen import views
from vla.report.study_page import page
from vla.report.whole import whole

REPORT = "report"


def write_report(
    workdir: Path,
    formats: Sequence[str] = FORMATS,
    show_progress: bool = True,
    helped: bool = False,
    again: bool = True,
    command: str = "",
    paper: Paper | None = None,
) -> Path:
    """Write `workdir/report/index.html` and `workdir/figures/`, from what the run left in `workdir` alone.

    The same files give the same bytes; each appears whole or not at all.

    Args:
      workdir: The folder of a run, as of `vla.report.run_folder.read`.
      formats: Of the figures' files, of ".svg", ".png" and ".pdf"; ".svg" is always written.
      show_progress: Show a bar with the time left.
      helped: Let a second process draw as well where that pays. It imports the script that runs, so that a script
        must do its work under `if __name__ == "__main__"`.
      again: Draw also what is there already, made from the same files by the same code.
      command: What draws the page again, where it is not what the run said, as of a folder that was moved.
      paper: The paper whose claims about the experiments the page checks.

    Returns:
      The page.

    Raises:
      ValueError: as `vla.report.run_folder.read`.
    """
    run = read(workdir)
    if command:
        commands = {**run.run["commands"], "report": command}
        run = dataclasses.replace(run, run={**run.run, "commands": commands})
    _complete(run)
    formats = tuple(dict.fromkeys((".svg", *formats)))
    made_from = [formats, matplotlib.__version__, {path.name: file_hash(path) for path in files(workdir)}]
    made_from += [value for value in (command, paper.name if paper else "") if value]
    record, index = workdir / REPORT / RECORD, workdir / REPORT / "index.html"
    if not again and unchanged(record, made_from):
        return index
    before = still_made(record)
    record.unlink(missing_ok=True)
    seen, places = views(run)
    claims = {id: one.claims for id, one in paper.experiments().items()} if paper else {}
    sections = [section(run, one, places, claims.get(str(one["id"]), ())) for one in run.experiments]
    extras = extra_sections(run)
    figures = planned(run, sections, extras)
    with progress.bar("drawing", len(figures), show_progress) as advance:
        shown = draw_all(workdir, figures, formats, advance, helped)
    for made in (*sections, *extras):
        made["figures"] = []
    for figure, data in zip(figures, shown, strict=True):
        if isinstance(figure.place, dict):
            figure.place["figures"].append(data)
    alone = {figure.place: data for figure, data in zip(figures, shown, strict=True) if isinstance(figure.place, str)}
    main = [*(paper.main_claims(run) if paper else ()), *comparison_claims(run)]
    citation = paper.citation if paper else ""
    text = page(run, sections, extras, seen, alone.get("overview"), alone.get("losses"), main, citation)
    whole(index, lambda path: path.write_text(text, encoding="utf-8"))
    names = [figure.shown.name for figure in figures]
    drawn = [workdir / FIGURES / f"{name}{suffix}" for name in names for suffix in (*formats, ".csv", ".json")]
    for path in before:
        # What an earlier run in this folder had to show and this one has not.
        if path.parent == record.parent / ".." / FIGURES and path.stem not in names:
            path.unlink(missing_ok=True)
    write_record(record, made_from, [index, *drawn])
    return index


def _complete(run: RunFolder) -> None:
    """Write the tables that follow from others where the run has not written them."""
    tables = {"plateaus": run.plateaus, "depth": run.profiles, "peaks": run.peaks, "summary": run.summary}
    for name, frame in ((f"{stem}.csv", table) for stem, table in tables.items()):
        if not (run.path / name).is_file():
            whole(run.path / name, lambda path, frame=frame: frame.to_csv(path, index=False))
