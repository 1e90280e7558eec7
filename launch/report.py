"""Draw the figures and the page of a run again from the files of its folder; nothing is scored or extracted.

python -m launch.report --workdir=workdir
python -m launch.report --workdir=workdir --formats=.svg,.png,.pdf
"""

import shlex

from absl import flags

from launch import entry

WORKDIR = flags.DEFINE_string("workdir", "workdir", "The folder of a run.")
FORMATS = flags.DEFINE_list("formats", [".svg", ".png"], "Formats of the figures' files, of .svg, .png and .pdf.")


def main() -> None:
    """From flags to a page."""
    from vla import paper
    from vla.report.write import write_report

    # The folder can have been moved since the run.
    command = f"python -m launch.report --workdir={shlex.quote(WORKDIR.value)}"
    workdir = entry.directory(WORKDIR.value)
    print(write_report(workdir, FORMATS.value, helped=True, command=command, paper=paper.of_run(workdir)))


if __name__ == "__main__":
    entry.run(main)
