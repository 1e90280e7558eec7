"""What launch scripts share: one line for a mistake, and the command as it is typed."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl.testing import flagsaver

from launch import entry

ROOT = Path(__file__).parents[2]


def test_a_users_mistake_is_one_line_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["launch"])

    def main():
        raise ValueError("the folder is missing; create it")

    with flagsaver.flagsaver(), pytest.raises(SystemExit) as stopped:
        entry.run(main)
    assert stopped.value.code == "error: the folder is missing; create it"


def test_an_info_line_of_the_library_is_shown_and_others_are_not():
    lines = [
        "import logging",
        "from launch import entry",
        "say = lambda name: logging.getLogger(name).info('a line of %s', name)",
        "entry.run(lambda: [say(name) for name in ('vla.models.fields', 'other')])",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "a line of vla.models.fields" in done.stderr and "other" not in done.stderr and not done.returncode


def test_a_stray_word_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["launch", "folder=photos"])
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as stopped:
        entry.run(lambda: None)
    assert stopped.value.code == 1
    assert "Not understood: folder=photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.experimnts=3", 'Did you mean "experiments" instead of "experimnts"?'),
        ("--config.choices.protocoll=paper", 'Did you mean "protocol"'),
        ("--config=configs/paper.py:E14", "Unknown argument 'E14'; expected one of E1, "),
        ("--config=configs/nowhere.py", "configs/nowhere.py"),
        ("--workdr=x", "Unknown command line flag 'workdr'. Did you mean: workdir ?"),
    ],
)
def test_a_flag_or_config_that_cannot_be_read_is_one_line(flag, words):
    done = subprocess.run(
        [sys.executable, "-m", "launch.reproduce", flag], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: flags or config cannot be read: ") and words in line


def test_the_command_can_be_typed_again(monkeypatch):
    words = ["launch", '--config.vision.core=("a b", "c")', "--dry_run", "--nodry", "--note=it's", "--dry_run=true"]
    monkeypatch.setattr("sys.argv", words)
    said = entry.typed("reproduce", without=("dry_run",))
    assert shlex.split(said) == ["python", "-m", "launch.reproduce", words[1], "--nodry", "--note=it's"]
