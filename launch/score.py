"""Score all layer pairs of extracted activations; write table, heat maps and page.

python -m launch.score --config=configs/captioned_folder.py ... --workdir=run    (the same config as launch.extract)

Finished blocks of layers lie in `WORKDIR/scores`: a killed run goes on from there, a second one only writes the page.
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/captioned_folder.py", "workdir")


def main() -> None:
    """Flags to plan to scores."""
    from vla.experiments.layer_map import LayerMap
    from vla.report.layer_map import write

    workdir = entry.directory(WORKDIR.value)
    print(write(LayerMap(**CONFIG.value.to_dict()), workdir).to_string(index=False))
    print(workdir / "report" / "index.html")


if __name__ == "__main__":
    entry.run(main)
