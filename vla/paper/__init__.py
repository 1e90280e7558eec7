"""Papers whose experiments a study can run. Each has a folder with its experiments, printed tests and claims."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla.checks import check_choice
from vla.experiments import configured
from vla.experiments.experiment import Paper
from vla.experiments.study import Study
from vla.paper.platonic import PAPER as PLATONIC
from vla.paper.seeing_through_words.experiments import PAPER as SEEING_THROUGH_WORDS

PAPERS: dict[str, Paper] = {paper.name: paper for paper in (SEEING_THROUGH_WORDS, PLATONIC)}


def find(name: str) -> Paper:
    """The paper with a name.

    Raises:
      ValueError: An unknown name; the message lists the papers.
    """
    check_choice("paper", name, PAPERS)
    return PAPERS[name]


def study(config: Mapping[str, Any], commands: Mapping[str, str] | None = None) -> Study:
    """The study that a config describes, with the experiments of the paper that `paper` of the config names.

    Args:
      config: As of `vla.experiments.configured.study`.
      commands: Commands of the run, by name.

    Raises:
      ValueError: As there; an unknown paper.
    """
    return configured.study(config, commands, find(config["paper"]) if config.get("paper") else None)


def of_run(workdir: Path) -> Paper | None:
    """The paper whose experiments a run folder has; None for no paper, or without a run."""
    described = workdir / "run.json"
    if not described.is_file():
        return None
    try:
        name = json.loads(described.read_text(encoding="utf-8")).get("paper", "")
    except ValueError:
        return None  # the report explains what is wrong with the file
    return PAPERS.get(name)
