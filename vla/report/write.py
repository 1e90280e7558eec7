"""Writes the report of a run: the figures with their data, and one self-contained page."""

import contextlib
import dataclasses
import functools
import itertools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pandas as pd

from vla import devices, progress
from vla.experiments.experiment import Paper
from vla.experiments.results import RECORD, files
from vla.experiments.unchanged import still_made, unchanged, write_record
from vla.files import file_hash, write_file
from vla.report.claims import comparison_claims
from vla.report.extras import extra_sections
from vla.report.figures import conditions, training
from vla.report.figures.style import direction_words, save, settle, styled
from vla.report.illustrations import Illustration, illustrations
from vla.report.run_folder import RunFolder, read
from vla.report.sections import section
from vla.report.study_page import page, sample_views
from vla.report.words import svg_url

# Formats of the files of figures by default; PDF takes as long as both together.
FORMATS = (".svg", ".png")
FIGURES, REPORT = "figures", "report"
# Figures wider than this many CSS pixels are scrolled, not shrunk, on a narrow screen.
_BROAD = 560
_MOST_KEYS = 40
# A second process takes some seconds to start, in which the first draws this many figures.
WORTH_A_PROCESS = 20


class Planned(NamedTuple):
    """A figure to draw and its section.

    Attributes:
      section: The section that shows it, or "overview" or "losses".
      illustration: The figure.
      number: Its number in the paper; "" for none.
      command: The command that draws it again.
      keys: Keys of the activations that it shows.
    """

    section: dict[str, Any] | str
    illustration: Illustration
    number: str
    command: str
    keys: list[str]


def planned(run: RunFolder, sections: Sequence[dict[str, Any]], extras: Sequence[dict[str, Any]]) -> list[Planned]:
    """All figures of a run, in the order of the page: of its experiments, of further sections, of the page itself."""
    command = run.run["commands"].get("report") or f"python -m launch.report --workdir={run.path}"
    figures: list[tuple[dict[str, Any] | str, Illustration, str]] = [
        (section, each, str(experiment.get("figure") or "") if each.of_paper else "")
        for experiment, section in zip(run.experiments, sections, strict=True)
        for each in (illustrations(run, experiment) if section["ran"] else ())
    ]
    figures += [(section, each, "") for section in extras for each in section["planned"]]
    figures += [(name, each, "") for name, each in (("overview", _overview(run)), ("losses", _losses(run))) if each]
    taken: set[str] = set()
    return [
        Planned(section, _unique(each, taken), number, command, _keys(run, each)) for section, each, number in figures
    ]


def _unique(figure: Illustration, taken: set[str]) -> Illustration:
    """The figure with a name that no other has, also on file systems that ignore upper and lower case."""
    names = (f"{figure.name}-{count}" if count > 1 else figure.name for count in itertools.count(1))
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return dataclasses.replace(figure, name=name)


def _keys(run: RunFolder, figure: Illustration) -> list[str]:
    """Keys of the activations of a figure: those in its rows, or those of the scores of its experiment."""
    rows = figure.rows
    if "vision_key" not in rows and "experiment" in rows:
        rows = run.scores.loc[run.scores["experiment"].isin(rows["experiment"].unique())]
    columns = [name for name in ("vision_key", "language_key") if name in rows]
    return list(dict.fromkeys(str(key)[:16] for name in columns for key in rows[name].dropna() if key))


def draw_figure(figure: Planned, folder: Path, formats: Sequence[str]) -> dict[str, Any]:
    """Write a figure in every format, its rows as .csv, and its source, command and keys as .json.

    The suffix .svg must be among `formats`, because the page contains it. Returns the values of its template.
    """
    shown, keys = figure.illustration, figure.keys
    with styled():
        drawing = settle(shown.draw())
    for suffix in formats:
        save(drawing, folder / f"{shown.name}{suffix}")
    write_file(folder / f"{shown.name}.csv", shown.rows.to_csv(index=False))
    made = {"command": figure.command, "source": shown.source, "rows": len(shown.rows), "keys": keys}
    description = {"figure": figure.number, "caption": shown.caption, **made}
    write_file(folder / f"{shown.name}.json", json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    data, width, height = svg_url(folder / f"{shown.name}.svg")
    more = [f"and {len(keys) - _MOST_KEYS} more in {shown.name}.json"] if len(keys) > _MOST_KEYS else []
    return {
        "id": f"figure-{shown.name}",
        "data": data,
        "width": width,
        "height": height,
        "broad": width > _BROAD,
        "alt": shown.alt,
        "caption": shown.caption,
        "figure": figure.number,
        "files": [
            {"href": f"../{folder.name}/{shown.name}{suffix}", "words": suffix[1:].upper()}
            for suffix in (*formats, ".csv", ".json")
        ],
        "made": {**made, "keys": [*keys[:_MOST_KEYS], *more]},
    }


def draw_all(
    workdir: Path, figures: Sequence[Planned], formats: Sequence[str], advance: Callable[[int], None], helped: bool
) -> list[dict[str, Any]]:
    """Write the files of all figures; returns the values of the template for each.

    `advance` is called with the number of figures just drawn, from any thread. `helped` lets a second process draw as
    well, with two cores and enough figures.
    """
    with _second_process(len(figures) if helped else 0) as pool:
        numbers = range(len(figures))
        futures = [
            pool.submit(_draw_number, workdir, number, tuple(formats), figures[number].command) if pool else None
            for number in numbers
        ]
        for future in futures:
            if future is not None:
                future.add_done_callback(lambda done: None if done.cancelled() else advance(1))
        drawn: dict[int, dict[str, Any]] = {}
        # The second process draws from the first figure on, this one from the last backwards.
        for number in reversed(numbers):
            future = futures[number]
            if future is None or future.cancel():
                drawn[number] = draw_figure(figures[number], workdir / FIGURES, formats)
                advance(1)
        return [drawn[number] if number in drawn else future.result() for number, future in enumerate(futures)]  # pyright: ignore[reportOptionalMemberAccess]


@contextlib.contextmanager
def _second_process(count: int) -> Iterator[Executor | None]:
    """A second process if it is faster for this number of figures, else None."""
    if count < WORTH_A_PROCESS or devices.cores() < 2:
        yield None
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@functools.cache
def _planned_again(workdir: Path) -> list[Planned]:
    """The same figures in the second process, because functions that draw cannot be sent to it."""
    run = read(workdir)
    anchors = sample_views(run)[1]
    return planned(run, [section(run, each, anchors) for each in run.experiments], extra_sections(run))


def _draw_number(workdir: Path, number: int, formats: tuple[str, ...], command: str) -> dict[str, Any]:
    return draw_figure(_planned_again(workdir)[number]._replace(command=command), workdir / FIGURES, formats)


def _overview(run: RunFolder) -> Illustration | None:
    """The figure of all comparisons for which the paper prints t."""
    rows = run.statistics.loc[run.statistics["paper_t"].notna() & run.statistics["t"].notna()]
    if rows.empty:
        return None
    same = (rows["t"] > 0) == (rows["paper_t"] > 0)
    return Illustration(
        "overview",
        "Paired t of every comparison for which the paper prints t: filled dots are this run, hollow diamonds the "
        "paper. Right of zero, the intact or preferred condition is higher; inside the grey band p is above .05, "
        "without control of the false discovery rate. t depends on the number of model pairs. Values beyond ±25 are "
        "drawn at the edge.",
        f"{int(same.sum())} of {len(rows)} printed tests have the same sign here as in the paper. "
        + "; ".join(
            f"{row['experiment']} {row['comparison']}, {direction_words(row['direction'])}: "
            f"t {row['t']:.1f}, the paper {row['paper_t']:.1f}"
            for row in rows.to_dict("records")
        )
        + ".",
        lambda: conditions.draw_tests(rows),
        rows,
        "statistics.csv",
    )


def _losses(run: RunFolder) -> Illustration | None:
    """The figure of the training losses that the run knows."""
    models: list[Mapping[str, Any]] = [model for model in run.run["models"] if model.get("losses")]
    if not models:
        return None
    rows = pd.concat(
        [pd.DataFrame({"model": m["name"], "step": m["losses"]["steps"], "loss": m["losses"]["loss"]}) for m in models],
        ignore_index=True,
    )
    text = "; ".join(
        f"{m['name']} from {m['losses']['loss'][0]:.2f} to {m['losses']['loss'][-1]:.2f}"
        + (f", baseline {m['losses']['baseline']:.2f}" if m["losses"].get("baseline") is not None else "")
        for m in models
    )
    return Illustration(
        "losses",
        "Loss of every model along its training; dashed: a baseline that knows only the frequency of each answer.",
        f"Training losses: {text}.",
        lambda: training.draw_losses(models),
        rows,
        "run.json",
    )


def write_report(
    workdir: Path,
    formats: Sequence[str] = FORMATS,
    show_progress: bool = True,
    helped: bool = False,
    again: bool = True,
    command: str = "",
    paper: Paper | None = None,
) -> Path:
    """Write `workdir/report/index.html` and `workdir/figures/` from the files of a run folder.

    The same files give the same bytes.

    Args:
      workdir: The run folder, as of `vla.report.run_folder.read`.
      formats: Formats of the figures, of ".svg", ".png" and ".pdf"; ".svg" is always written.
      show_progress: Show a progress bar.
      helped: Let a second process draw as well if that is faster. It imports the main script, which must therefore
        do its work under `if __name__ == "__main__"`.
      again: Draw even if the report exists, made from the same files by the same code.
      command: The command that draws the page again, if not the one of the run (the folder may have been moved).
      paper: The paper whose claims are checked; None for none.

    Returns:
      The path of the page.

    Raises:
      ValueError: As `vla.report.run_folder.read`.
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
    samples, anchors = sample_views(run)
    claims = {id: each.claims for id, each in paper.experiments().items()} if paper else {}
    sections = [section(run, each, anchors, claims.get(str(each["id"]), ())) for each in run.experiments]
    extras = extra_sections(run)
    figures = planned(run, sections, extras)
    with progress.bar("drawing", len(figures), show_progress) as advance:
        drawn = draw_all(workdir, figures, formats, advance, helped)
    for each in (*sections, *extras):
        each["figures"] = []
    alone: dict[str, dict[str, Any]] = {}
    for figure, data in zip(figures, drawn, strict=True):
        if isinstance(figure.section, str):
            alone[figure.section] = data
        else:
            figure.section["figures"].append(data)
    main = [*(paper.main_claims(run) if paper else ()), *comparison_claims(run)]
    citation = paper.citation if paper else ""
    text = page(run, sections, extras, samples, alone.get("overview"), alone.get("losses"), main, citation)
    write_file(index, text)
    names = [figure.illustration.name for figure in figures]
    drawn_files = [workdir / FIGURES / f"{name}{suffix}" for name in names for suffix in (*formats, ".csv", ".json")]
    for path in before:
        # Figures of an earlier run in this folder that this run does not have.
        if path.parent == record.parent / ".." / FIGURES and path.stem not in names:
            path.unlink(missing_ok=True)
    write_record(record, made_from, [index, *drawn_files])
    return index


def _complete(run: RunFolder) -> None:
    """Write the tables that follow from others if the run lacks them."""
    tables = {"plateaus": run.plateaus, "depth": run.profiles, "peaks": run.peaks, "summary": run.summary}
    for name, frame in ((f"{stem}.csv", table) for stem, table in tables.items()):
        if not (run.path / name).is_file():
            write_file(run.path / name, frame.to_csv(index=False))
