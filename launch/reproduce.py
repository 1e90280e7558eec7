"""Run a study and write its report: by default on a drawn world, offline; with configs/paper.py the paper's.

    python -m launch.reproduce
    python -m launch.reproduce --config=configs/microworld.py:quick --workdir=quick
    python -m launch.reproduce --config=configs/paper.py --workdir=paper --dry_run
    python -m launch.reproduce --config=configs/paper.py:E2 --workdir=paper --config.datasets.coco.directory=coco
    python -m launch.reproduce --config=configs/captioned_folder.py --config.data.path=photos --workdir=run \
        --config.vision=facebook/dinov2-base --config.language=HuggingFaceTB/SmolLM2-1.7B

An interrupted run resumes. Models larger than memory: --config.stream=True. Independent processes that share one
--workdir: --config.shard=0/4 to 3/4; the last one, or a later run, writes the report. Several hosts that share each
view: --coordinator=auto under SLURM and on Cloud TPU, elsewhere --coordinator=host:port --processes=2 --process=0 (on
the second --process=1). The scripts in launch/cluster do both.
"""

import shlex
import sys

from absl import flags

from launch import entry

CONFIG, WORKDIR = entry.define("configs/microworld.py", "workdir")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Only say what is to be done and what it takes; nothing is written but a drawn world."
)
join = entry.define_processes()


def main(stage: str = "") -> None:
    """Flags to study to report.

    Args:
      stage: The stage to run, whatever the config says; "" for the config's.
    """
    from vla import devices, progress
    from vla import paper as papers
    from vla.experiments import engine, plan

    join()
    workdir, values = entry.directory(WORKDIR.value), CONFIG.value.to_dict()
    commands = {"run": entry.typed("reproduce", without=("dry_run",))}
    commands["report"] = f"python -m launch.report --workdir={shlex.quote(WORKDIR.value)}"
    commands["cell"] = f"{commands['run']} --workdir={shlex.quote(WORKDIR.value.rstrip('/') + '-again')}"
    first = devices.this_process()[0] == 0
    if "microworld" not in values:
        papers.study(values)  # a mistake in the config is said before any progress is shown
    with progress.whole("all stages together", first and not DRY_RUN.value):
        if "microworld" in values:
            # What compares models along their training is added where none are named; it has no flags of its own.
            commands["cell_groups"] = "core"
            from vla.microworld.quick_start import fill_config

            values = fill_config(values, workdir / "microworld", first)
        study = papers.study(values | ({"stage": stage} if stage else {}), commands)
        if DRY_RUN.value:
            if first:
                print(plan.written(plan.plan(study, workdir)))
            devices.wait_for_all("planned")
            return
        outcome = engine.run(study, workdir, show_progress=first)
        if first and outcome.finished:
            from vla.report.write import write_report

            page = write_report(workdir, helped=True, again=False, paper=papers.of_run(workdir))
        devices.wait_for_all("reported")
    if first and outcome.finished:
        for line in outcome.absent:
            print(f"not run: {line}", file=sys.stderr)
        print(page)
    elif first:
        waits = "for --config.stage=score" if study.stage == "extract" else (
            "for other shards, or for activations that are not extracted yet. When these are done, run again"
        )  # fmt: skip
        print(f"{outcome.missing} tables of scores are left {waits}.")


if __name__ == "__main__":
    entry.run(main)
