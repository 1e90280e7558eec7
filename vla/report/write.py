"""Writes the report of a run: every figure with what made it, and one self-contained page."""

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
from vla.experiments.run_folder import RECORD, files
from vla.experiments.unchanged import still_made, unchanged, write_record
from vla.files import file_hash, write_file
from vla.report.claims import comparison_claims
from vla.report.extras import extra_sections
from vla.report.figures import losses as losses_figure
from vla.report.figures import overview
from vla.report.figures.style import DIRECTION_WORDS, save, settle, styled
from vla.report.illustrations import Illustration, illustrations
from vla.report.run_folder import RunFolder, read
from vla.report.sections import section
from vla.report.study_page import page, views
from vla.report.words import svg_url

# Of the figures' files unless asked otherwise; PDF takes as long as the rest together.
FORMATS = (".svg", ".png")
# Figures wider than this many CSS pixels are scrolled, not shrunk, on a narrow screen.
_BROAD = 560
_MOST_KEYS = 40


def drawn(
    shown: Illustration, folder: Path, command: str, keys: Sequence[str], figure: str = "",
    formats: Sequence[str] = FORMATS,
) -> dict[str, Any]:  # fmt: skip
    """Draw a figure and write `folder/<name>` in every format, its rows as .csv, what made it as .json.

    Args:
      shown: The figure.
      folder: Where.
      command: What draws it again.
      keys: Keys of the store behind it.
      figure: Its number in the paper; "" for none.
      formats: Suffixes, of .svg, .png and .pdf; the .svg is part of the page, so it must be among them.

    Returns:
      What the page's template shows.
    """
    with styled():
        picture = settle(shown.draw())
    for suffix in formats:
        save(picture, folder / f"{shown.name}{suffix}")
    write_file(folder / f"{shown.name}.csv", shown.rows.to_csv(index=False))
    made = {"command": command, "source": shown.source, "rows": len(shown.rows), "keys": list(keys)}
    described = {"figure": figure, "caption": shown.caption, **made}
    write_file(folder / f"{shown.name}.json", json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    data, width, height = svg_url(folder / f"{shown.name}.svg")
    more = [f"and {len(keys) - _MOST_KEYS} more in {shown.name}.json"] if len(keys) > _MOST_KEYS else []
    return {
        "id": f"figure-{shown.name}",
        "data": data,
        "width": width,
        "height": height,
        "broad": width > _BROAD,
        "alt": shown.spoken,
        "caption": shown.caption,
        "figure": figure,
        "files": [
            {"href": f"../{folder.name}/{shown.name}{suffix}", "words": suffix[1:].upper()}
            for suffix in (*formats, ".csv", ".json")
        ],
        "made": {**made, "keys": [*keys[:_MOST_KEYS], *more]},
    }


FIGURES = "figures"
# A process takes some seconds to start, in which another draws this many figures.
WORTH_A_PROCESS = 20


class Planned(NamedTuple):
    """A figure and where it belongs.

    Attributes:
      place: The section that shows it, or "overview" or "losses".
      shown: The figure.
      number: Its number in the paper; "" for none.
      command: What draws it again.
      keys: Keys of the activations behind it.
    """

    place: dict[str, Any] | str
    shown: Illustration
    number: str
    command: str
    keys: list[str]


def planned(run: RunFolder, sections: Sequence[dict[str, Any]], extras: Sequence[dict[str, Any]]) -> list[Planned]:
    """All figures of a run, in the order of the page.

    Args:
      run: The run.
      sections: One per experiment.
      extras: Further ones, with the figures that they plan.
    """
    command = run.run["commands"].get("report") or f"python -m launch.report --workdir={run.path}"
    found: list[tuple[dict[str, Any] | str, Illustration, str]] = [
        (made, shown, str(experiment.get("figure") or "") if shown.of_paper else "")
        for experiment, made in zip(run.experiments, sections, strict=True)
        for shown in (illustrations(run, experiment) if made["ran"] else ())
    ]
    found += [(made, shown, "") for made in extras for shown in made["planned"]]
    found += [(name, shown, "") for name, shown in (("overview", _overview(run)), ("losses", _losses(run))) if shown]
    taken: set[str] = set()
    return [Planned(place, _named(shown, taken), of, command, _keys(run, shown)) for place, shown, of in found]


def _named(shown: Illustration, taken: set[str]) -> Illustration:
    """The figure under a name that no other has, where file systems do not tell capitals from small letters either."""
    tries = (f"{shown.name}-{count}" if count > 1 else shown.name for count in itertools.count(1))
    name = next(one for one in tries if one.casefold() not in taken)
    taken.add(name.casefold())
    return dataclasses.replace(shown, name=name)


def draw_all(
    workdir: Path, figures: Sequence[Planned], formats: Sequence[str], advance: Callable[[int], None], helped: bool
) -> list[dict[str, Any]]:
    """Write the files of all figures; what the page shows of each.

    Args:
      workdir: The folder of the run.
      figures: As of `planned`.
      formats: Of the files.
      advance: Called with the number of figures just drawn, from any thread.
      helped: Let a second process draw as well where there are two cores and so many figures that it pays.
    """
    with _helper(len(figures) if helped else 0) as pool:
        numbers = range(len(figures))
        others = [
            pool.submit(_drawn_there, workdir, number, tuple(formats), figures[number].command) if pool else None
            for number in numbers
        ]
        for other in others:
            if other is not None:
                other.add_done_callback(lambda done: None if done.cancelled() else advance(1))
        found: dict[int, dict[str, Any]] = {}
        # The other process draws from the one end while this one draws from the other.
        for number in reversed(numbers):
            other = others[number]
            if other is None or other.cancel():
                found[number] = _drawn(workdir, figures[number], formats)
                advance(1)
        for number, other in enumerate(others):
            if other is not None and not other.cancelled():
                found[number] = other.result()
        return [found[number] for number in numbers]


@contextlib.contextmanager
def _helper(count: int) -> Iterator[Executor | None]:
    """A second process where it pays, else None."""
    if count < WORTH_A_PROCESS or devices.cores() < 2:
        yield None
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@functools.cache
def _planned_there(workdir: Path) -> list[Planned]:
    """The same figures, planned by the other process: functions that draw do not travel."""
    run = read(workdir)
    places = views(run)[1]
    return planned(run, [section(run, one, places) for one in run.experiments], extra_sections(run))


def _drawn_there(workdir: Path, number: int, formats: tuple[str, ...], command: str) -> dict[str, Any]:
    return _drawn(workdir, _planned_there(workdir)[number]._replace(command=command), formats)


def _drawn(workdir: Path, figure: Planned, formats: Sequence[str]) -> dict[str, Any]:
    return drawn(figure.shown, workdir / FIGURES, figure.command, figure.keys, figure.number, formats)


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
        "Right of zero, the intact or preferred condition is higher; inside the grey band p is above .05, before the "
        "false discovery rate is controlled. The height of t depends on the number of model pairs. Values beyond ±25 "
        "stand at the edge.",
        f"{int(same.sum())} of {len(rows)} printed tests have the same sign here as in the paper. "
        + "; ".join(
            f"{row['experiment']} {row['comparison']}, {DIRECTION_WORDS.get(row['direction'], row['direction'])}: "
            f"t {row['t']:.1f}, the paper {row['paper_t']:.1f}"
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
    write_file(index, text)
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
            write_file(run.path / name, frame.to_csv(index=False))
