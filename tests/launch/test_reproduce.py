"""launch.reproduce with a study: the plan, shards, and the scripts that start it on clusters."""

import os
import stat
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.experiments import folders

ROOT = Path(__file__).parents[2]


CONFIG = """
from configs import paper

def get_config(arg=""):
    config = paper.get_config("E1")
    config.experiments, config.sweep, config.null = (), (), 2
    # An experiment in a few lines.
    config.own_experiments = ({
        "id": "grey", "title": "Grey images", "question": "Does alignment need colour?",
        "conditions": ({"name": "original", "part": "i"}, {"name": "grey", "image": "grayscale", "part": "i"}),
        "comparisons": ({"name": "grey", "higher": "original", "lower": "grey"},),
    },)
    config.datasets.coco.name, config.datasets.coco.n_items = "captioned_folder", 0
    return config
"""


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    where = tmp_path_factory.mktemp("launch")
    study = folders.study(where)
    (where / "mine.py").write_text(CONFIG)
    return where, [
        f"--config={where / 'mine.py'}",
        f"--config.datasets.coco.directory={where / 'data'}",
        f"--config.vision.core={study.vision['core']!r}",
        f"--config.language.core={study.language['core']!r}",
        f"--workdir={where / 'run'}",
    ]


def test_a_dry_run_of_the_paper_prints_times_and_writes_nothing(command, tmp_path):
    done = command(tmp_path, "launch.reproduce", f"--config={ROOT / 'configs/paper.py'}", "--dry_run")
    for words in ("E13", "open_llama_7b", "h200", "tpu-v5e-8", "GiB", "measured", "assumed"):
        assert words in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_command_runs_ones_own_experiment_and_shards_wait_for_each_other(command, flags):
    where, given = flags
    extracted = command(where, "launch.reproduce", *given, "--config.stage=extract")
    assert "8 tables of scores are left for --config.stage=score." in extracted.stdout
    first = command(where, "launch.reproduce", *given, "--config.shard=0/2")
    assert "are left for other shards" in first.stdout and not (where / "run" / "run.json").exists()
    command(where, "launch.reproduce", *given, "--config.shard=1/2")
    (row, _) = pd.read_csv(where / "run" / "statistics.csv").to_dict("records")
    assert (row["experiment"], row["comparison"], row["n_pairs"]) == ("grey", "grey", 4)
    assert row["mean_difference"] > 0.1


def test_a_run_that_can_score_nothing_fails_and_says_why(command, flags, tmp_path):
    given = [flag for flag in flags[1] if "directory" not in flag and "workdir" not in flag]
    where = [f"--config.datasets.coco.directory={tmp_path / 'nowhere'}", f"--workdir={tmp_path / 'run'}"]
    done = command(tmp_path, "launch.reproduce", *given, *where, succeeds=False)
    assert "error: nothing can be scored:\ngrey, original, grey: " in done.stderr and "nowhere" in done.stderr
    assert not (tmp_path / "run").exists(), "what helps is said before anything is written"


@pytest.mark.parametrize(("flags", "said"), [((), "page reported\npage\n"), (("--dry_run",), "plan\nplan planned\n")])
def test_processes_that_have_joined_wait_for_the_one_that_reports(command, flags, said, tmp_path):
    config = f"--config={ROOT / 'configs/paper.py'}:smoke"
    done = command(tmp_path, "tests.launch.waiting", config, f"--workdir={tmp_path}", *flags)
    assert done.stdout == said, done.stderr


@pytest.mark.parametrize("script", ["slurm_array.sh", "tpu_pod.sh"])
def test_scripts_for_clusters_pass_the_flags_on(script, tmp_path):
    path = ROOT / "launch" / "cluster" / script
    assert path.stat().st_mode & stat.S_IXUSR
    for command in ("sbatch", "gcloud"):
        fake = tmp_path / command
        fake.write_text(f'#!/bin/sh\necho 7\nfor a in "$@"; do echo "$a"; done >> {tmp_path}/said\n')
        fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "WORKDIR": str(tmp_path / "w"),
                   "PARTS": "3", "TPU": "pod", "ZONE": "z"}  # fmt: skip
    subprocess.run([path, "--config=configs/paper.py", "--config.dtype=bfloat16"], env=environment, check=True)
    said = (tmp_path / "said").read_text()
    assert "launch.reproduce" in said and "--config.dtype=bfloat16" in said and f"--workdir={tmp_path / 'w'}" in said
    if script == "slurm_array.sh":
        assert "--array=0-2" in said and "--config.stage=score --config.shard=$SLURM_ARRAY_TASK_ID/3" in said
    refused = subprocess.run([path], env=environment, capture_output=True, text=True)
    assert refused.returncode == 2 and "usage" in refused.stderr
