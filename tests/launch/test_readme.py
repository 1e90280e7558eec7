"""The own dataset, model, experiment and metric of the documentation are run as they stand there."""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.config_values import config_values
from vla import paper
from vla.experiments import engine
from vla.metrics import METRICS

ROOT = Path(__file__).parents[2]


def _section():
    return (ROOT / "docs" / "own.md").read_text(encoding="utf-8")


def _blocks():
    """The programs by name, and the command."""
    programs = dict(re.findall(r"```python\n# (own_\w+\.py)\n(.*?)```", _section(), flags=re.DOTALL))
    (command,) = re.findall(r"```\n(python -m launch\.reproduce.*?)```", _section(), flags=re.DOTALL)
    return programs, shlex.split(command)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where, patch = tmp_path_factory.mktemp("readme"), pytest.MonkeyPatch()
    programs, _ = _blocks()
    for name, text in programs.items():
        (where / name).write_text(text)
    patch.chdir(where)
    for name in ("own_dataset.py", "own_model.py"):
        runpy.run_path(name)
    yield where
    patch.undo()


def _run(config, workdir, *more):
    """The command with another config: flags as the launch script reads them, and the engine."""
    words = _blocks()[1]
    assert words[:5] == ["python", "-m", "launch.reproduce", "--config=configs/paper.py:E1", "--workdir=own"]
    study = paper.study(config_values(config, [*words[5:], *more]))
    outcome = engine.run(study, Path(workdir), show_progress=False)
    assert outcome.finished and not outcome.absent and outcome.scored
    return pd.read_parquet(Path(workdir) / "scores.parquet")


def test_examples_are_about_ten_lines():
    programs, _ = _blocks()
    assert set(programs) == {"own_dataset.py", "own_model.py", "own_experiment.py", "own_metric.py"}
    for name, text in programs.items():
        assert sum(bool(line.strip()) for line in text.splitlines()) <= 12, name


def test_own_dataset_and_model(folder):
    table = _run(f"{ROOT / 'configs/paper.py'}:E1", "own")
    assert set(table["vision_model"]) == {"pixels"} and set(table["n_items"]) == {40}
    # The redder a card, the more often its caption says that it is dark.
    assert (table["score"] > 0.5).all() and (table["null_mean"].abs() < 0.3).all()


def test_own_experiment(folder):
    table = _run("own_experiment.py", "own")
    assert set(table["condition"]) == {"first", "second"}
    found = pd.read_csv("own/statistics.csv")
    assert set(found["comparison"]) == {"second caption"} and set(found["verdict"]) == {"too few pairs"}


def test_own_metric(folder):
    flags = re.findall(r"`--config=own_metric.py:E1` and `(--config.metrics=\S+)`", _section())
    before = set(METRICS)
    try:
        (score,) = _run("own_metric.py:E1", "own", *shlex.split(flags[0]))["score"]
    finally:
        for name in set(METRICS) - before:
            del METRICS[name]
    near = []
    for name in ("pixels", "letters"):
        values = np.load(f"{name}/original.npz")["activations"][0].astype(float)
        products = values @ values.T
        near.append((products > np.median(products)).ravel())
    assert score == pytest.approx(np.corrcoef(*near)[0, 1], abs=1e-6)


def test_the_study_on_photographs_is_what_its_table_says():
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    (command,) = re.findall(
        r"```\n(python -m launch\.reproduce[^`]*?--workdir=photographs.*?)```", text, flags=re.DOTALL
    )
    words = shlex.split(command)
    study = paper.study(config_values(ROOT / "configs/paper.py:E1", words[5:]))
    assert [one.id for one in study.experiments] == ["E1", "E3", "E6", "E8", "E9", "N sweep"]
    assert words[3] == "--config=configs/paper.py:E1" and study.datasets["coco"].name == "flickr8k"
    pairs = study.pairs(study.experiments[0].conditions[0])
    assert len(pairs) == 6
    here = [source for source in {*sum(pairs, ())} if "/" in source]
    assert len(here) == 4 and all((ROOT / source / "config.json").is_file() for source in here)
    assert [len(one.conditions) for one in study.experiments] == [1, 5, 5, 5, 10, 4], "no images, five captions"


def test_links_of_the_readme_and_the_documentation_lead_to_files():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
