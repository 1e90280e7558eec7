"""The quick start: draw a small world, extract, score, and write a page, offline and with the code that runs real data.

python -m launch.reproduce
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/microworld.py", "workdir")


def main() -> None:
    """Flags to plan to report."""
    from vla.experiments.layer_map import LayerMap, extract_all, open_store
    from vla.microworld.study import NOTE, prepare
    from vla.report.layer_map import write

    workdir = entry.directory(WORKDIR.value)
    config = CONFIG.value
    folder, models = prepare(workdir, config.n_items, config.seed)
    config.folder = str(folder)
    config.vision_models, config.language_models = (str(models.vision),), (str(models.language),)
    plan = LayerMap(**config.to_dict())
    extract_all(plan, open_store(plan, workdir))
    print(write(plan, workdir, note=NOTE).to_string(index=False))
    print(workdir / "report" / "index.html")


if __name__ == "__main__":
    entry.run(main)
