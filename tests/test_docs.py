"""The documentation: the site builds, its programs run, its commands are read, and its tables are complete."""

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.config_values import config_values
from vla.alignment import table
from vla.experiments import compare, results
from vla.microworld.captions import describe
from vla.microworld.published_layouts import write_coco
from vla.microworld.scenes import distinct_scenes
from vla.microworld.tagger import write_tagger

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
# The programs of these are run elsewhere: tests/launch/test_commands.py and test_readme.py.
ELSEWHERE = ("README.md", "own.md")


def blocks(page: Path) -> list[tuple[str, str]]:
    """The code blocks of a page: language and text."""
    return re.findall(r"```(\w*)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_builds_without_warnings_or_the_network(tmp_path):
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    for name, page in text.items():
        assert not re.search(r'<(script|link|img)[^>]*(src|href)="https?:', page), f"{name} loads from the network"
    assert all(f"<code>{name}</code>" in text["files.html"] for name in table.NAMES)
    assert "--dry_run" in text["commands.html"] and "config.choices.empty_captions" in text["configs.html"]
    assert 'id="vla.score"' in text["vla.html"] and 'id="vla.metrics.cka"' in text["vla.metrics.html"]


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in ELSEWHERE], ids=lambda page: page.name)
def test_programs_run_and_print_what_the_page_shows(page, tmp_path, monkeypatch):
    programs = blocks(page)
    if not any(language == "python" for language, _ in programs):
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    world = Path("workdir/microworld/world-500-42")
    if any(str(world) in text for _, text in programs):
        # A part of what the quick start leaves.
        world.parent.mkdir(parents=True)
        scenes = distinct_scenes(60, 42)
        write_coco(world / "coco", scenes, [describe(scene) for scene in scenes])
        write_tagger(Path(f"{world}-tagger"), 42)
    variables: dict = {}
    for (language, text), (after, shown) in zip(programs, [*programs[1:], ("", "")], strict=True):
        if language != "python":
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(text, page.name, "exec"), variables)
        if after == "text":
            assert re.sub(r"-?\d+\.\d*", "#", printed.getvalue()) == re.sub(r"-?\d+\.\d*", "#", shown)
            numbers = [[float(n) for n in re.findall(r"-?\d+\.\d*", each)] for each in (printed.getvalue(), shown)]
            np.testing.assert_allclose(*numbers, atol=0.011)


def commands():
    for page in PAGES:
        for language, text in blocks(page):
            if language in ("", "console"):
                for line in text.replace("\\\n", " ").splitlines():
                    if line.startswith("python -m launch."):
                        yield pytest.param(shlex.split(line), id=f"{page.stem}: {line[:60]}")


@pytest.mark.parametrize("words", commands())
def test_commands_name_scripts_configs_and_settings_that_exist(words):
    script = ROOT / "launch" / f"{words[2].removeprefix('launch.')}.py"
    source = script.read_text(encoding="utf-8") + (ROOT / "launch" / "entry.py").read_text(encoding="utf-8")
    config, settings = next(iter(re.findall(r'entry\.define\("([^"]+)"', source)), "configs/microworld.py"), []
    for word in words[3:]:
        if word.startswith("--config="):
            config = word.removeprefix("--config=")
        elif word.startswith("--config."):
            settings.append(word)
        else:
            assert re.search(rf'"{word.lstrip("-").partition("=")[0]}"', source), word
    if not config.startswith("own_"):  # those of docs/own.md are made there
        config_values(ROOT / config, settings)


def test_every_setting_of_every_config_has_a_meaning(generate):
    for path in sorted((ROOT / "configs").rglob("*.py")):
        module = generate._loaded(path)
        if hasattr(module, "get_config"):
            assert [key for key, _, meaning in generate.settings(module) if not meaning] == [], path.name


def test_every_setting_of_every_metric_has_a_meaning(generate):
    from vla.metrics import METRICS

    for name, metric in METRICS.items():
        fields = {field for field in metric.settings.__dataclass_fields__ if not field.startswith("_")}
        assert fields <= set(generate.described(metric.settings)), name


def documented(text: str) -> set[str]:
    """The names in the first cells of tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_column_of_the_tables_of_a_run_is_documented():
    known = documented((DOCS / "files.md").read_text(encoding="utf-8"))
    tables = (results.PROFILES, results.PEAKS, results.SUMMARY, results.PLATEAUS, compare.COLUMNS)
    assert not {column for columns in tables for column in columns} - known


def undocumented(run: Path) -> set[str]:
    """Files of a run, and columns of its tables, that the documentation does not name."""
    known = documented((DOCS / "files.md").read_text(encoding="utf-8")) | set(table.NAMES)
    named = {name.split("/")[0] for name in known}
    lacking = {path.name for path in run.iterdir() if not path.name.startswith(".")} - named
    frames = [pd.read_csv(path, nrows=1) for path in run.glob("*.csv")]
    frames += [pd.read_parquet(path) for path in run.glob("*.parquet")]
    return lacking | {column for frame in frames for column in frame.columns} - known
