"""Run a study and write its report: by default on a drawn world, offline; with configs/paper.py that of the paper.

    python -m launch.reproduce
    python -m launch.reproduce --config=configs/microworld.py:quick --workdir=quick
    python -m launch.reproduce --config=configs/paper.py --workdir=paper --dry_run
    python -m launch.reproduce --config=configs/paper.py:E2 --workdir=paper --config.datasets.coco.directory=coco
    python -m launch.reproduce --config=configs/captioned_folder.py --config.data.path=photos --workdir=run \
        --config.vision=facebook/dinov2-base --config.language=HuggingFaceTB/SmolLM2-1.7B

An interrupted run resumes. For models larger than memory add --config.stream=True. Independent processes can share one
--workdir with --config.shard=0/4 to 3/4; the last one, or a later run, writes the report. Several hosts can share every
view: with --coordinator=auto under SLURM and on Cloud TPU, elsewhere with --coordinator=host:port --processes=2 and
--process=0 on the first, --process=1 on the second. The scripts in launch/cluster do both.
"""

import shlex
import sys

from absl import flags

from launch import entry

CONFIG, WORKDIR = entry.define("configs/microworld.py", "workdir")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print the plan and its estimated cost; run nothing. Only a drawn world is written."
)
join = entry.define_processes()


def main(stage: str = "") -> None:
    """From flags to a study to its report.

    Args:
      stage: The stage to run; "" for that of the config.
    """
    from vla import devices, progress
    from vla import paper as papers
    from vla.experiments import engine, plan

    join()
    workdir, values = entry.directory(WORKDIR.value), CONFIG.value.to_dict()
    commands = {"run": entry.typed("reproduce", without=("dry_run",))}
    commands["report"] = f"python -m launch.report --workdir={shlex.quote(WORKDIR.value)}"
    commands["cell"] = f"{commands['run']} --workdir={shlex.quote(WORKDIR.value.rstrip('/') + '-again')}"
    first, page = devices.this_process()[0] == 0, None
    if "microworld" not in values:
        papers.study(values)  # report a mistake in the config before any progress is shown
    with progress.overall("all stages together", first and not DRY_RUN.value):
        if "microworld" in values:
            # Only the models of this group have flags; those along training are added without.
            commands["cell_groups"] = "core"
            from vla.microworld.quick_start import fill_config

            values = fill_config(values, workdir / "microworld", first)
        study = papers.study(values | ({"stage": stage} if stage else {}), commands)
        if DRY_RUN.value:
            if first:
                print(plan.plan_text(plan.plan(study, workdir)))
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
        next_step = "for --config.stage=score" if study.stage == "extract" else (
            "for other shards, or for activations that are not extracted yet. Run again when these have finished"
        )  # fmt: skip
        print(f"{outcome.missing} tables of scores are left {next_step}.")


if __name__ == "__main__":
    entry.run(main)
