"""The page of a study: what stands at its top, and tables of models, datasets and settings."""

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from vla.report.run_folder import RunFolder
from vla.report.sections import section
from vla.report.study_page import page

MODELS = [
    {"name": "seer", "modality": "vision", "source": "hub/seer", "width": 64, "pool": "cls", "layers": ["embed", "b"],
     "fingerprint": "0123456789abcdef", "held_out": {"patches": {"trivial": 0.7, "untrained": 1.3, "trained": 0.35}}},
    {"name": "teller", "modality": "language", "source": "hub/<teller>", "width": 32, "pool": "mean", "layers": 7},
]  # fmt: skip


class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words, self.hidden = [], False

    def handle_starttag(self, tag, attributes):
        self.hidden = tag == "style"

    def handle_data(self, data):
        self.words += [] if self.hidden else data.split()


def experiment(id, status="run", **more):
    return {"id": id, "title": f"about {id}", "question": f"What of {id}?", "status": status, "conditions": [],
            "comparisons": [], "metrics": ["linear_predictivity"], "figure": "", "why": "", "command": "",
            **more}  # fmt: skip


@pytest.fixture
def words(tmp_path):
    verdicts = {"E2": ["same sign and significance", "neither significant"], "E3": ["same sign", "differs"]}
    statistics = pd.DataFrame(
        [{"experiment": id, "verdict": one, "metric": "cka"} for id, found in verdicts.items() for one in found]
    )
    scores = pd.DataFrame({"experiment": ["E2", "E2", "E3"], "vision_model": ["seer", "seer@10", "seer"],
                           "language_model": ["teller", "teller", "other"], "n_items": [1000, 1000, 986]})  # fmt: skip
    found = [experiment("E2", figure="3A-B"), experiment("E3", figure="3C-D"),
             experiment("E12", "not run", why="no photographs", figure="10, 11, 14")]  # fmt: skip
    described = {
        "experiments": found, "models": MODELS, "title": "Mine", "note": "An <illustration>.",
        "times": {"scoring": 2.04},
        "commands": {"run": "python -m launch.reproduce '--config.sweep=()'", "cell": "not shown"},
        "settings": [{"point": "averaging", "setting": "averaging", "value": "mean_first", "alternatives": "other"},
                     {"point": "folds", "setting": "overrides.outer_folds", "value": "3", "alternatives": ""}],
        "datasets": [{"name": "flickr8k", "role": "coco", "n": 1000, "seed": 42, "dropped": 7091}],
        "versions": {"jax": "0.10.2"}, "machine": "a laptop",
    }  # fmt: skip
    empty = pd.DataFrame({"experiment": []})
    (tmp_path / "curves.csv").write_text("k\n")
    run = RunFolder(Path(tmp_path), described, scores, statistics, empty, {}, {}, {}, ("statistics.csv",))
    sections = [
        {
            **section_of(run, one),
            "verdict": {"words": said, "tally": f"tally {one['id']}", "style": "none", "sign": "○"},
        }
        for one, said in zip(found, ("agrees", "differs", "not run"), strict=True)
    ]
    text = Text()
    text.feed(page(run, sections, [], [], None, None, []))
    return " ".join(text.words)


def section_of(run, one):
    """A section without tests and scores."""
    bare = {name: pd.DataFrame({"experiment": [], "metric": []}) for name in ("statistics", "curves")}
    scores = run.scores.assign(condition="", metric="", direction="").iloc[:0]
    bare_run = dataclasses.replace(run, **bare, scores=scores)
    bare_run.__dict__.update({name: pd.DataFrame({"experiment": []}) for name in ("plateaus", "peaks")})
    return {**section(bare_run, {**one, "status": "not run"}, {}), "figures": [], "ran": one["status"] == "run"}


def test_the_top_counts_what_was_run_and_how_it_came_out(words):
    assert "2 of 3" in words and "1,000" in words
    # Checkpoints of a model are that model.
    assert "1 × 2" in words
    for said, count in (("agree with the paper", 1), ("agree in part", 0), ("differ", 1)):
        assert f"{said} {count}" in words
    assert "Note. An <illustration>." in words and "The run folder lacks statistics.csv." in words


def test_experiments_stand_with_their_figures_and_reasons(words):
    assert "E2 · Figure 3A-B of the paper" in words and "E12 · Figures 10, 11 and 14 of the paper" in words
    assert "Not run: no photographs" in words and "What of E3?" in words


def test_models_settings_and_what_made_the_page(words):
    assert "seer vision hub/seer 2 64 cls 0123456789ab" in words and "teller language hub/<teller> 7 32 mean" in words
    assert "seer patches 0.700 1.300 0.350" in words
    assert "flickr8k coco 1000 42 7091" in words and "averaging averaging mean_first other" in words
    assert "python -m launch.reproduce '--config.sweep=()'" in words and "not shown" not in words
    assert "scoring 2.0" in words and "machine a laptop" in words and "curves.csv" in words


def test_how_a_score_is_made_is_said_of_this_run(words):
    assert "the items are split into three parts." in words and "Linear CKA" not in words and "Mutual k-NN" not in words
