"""Look into the alignment of two models: its dimensions, its best and worst items, its kinds of content.

    python -m launch.content --config.directory=flickr8k --config.study.vision_models=facebook/dinov2-base \
        --config.study.language_models=HuggingFaceTB/SmolLM2-1.7B --workdir=run

It writes `run/items.parquet`, `spectrum.csv`, `directions.csv` and `content.csv`. Activations are kept in
`run/activations`, which other commands share.
"""

from typing import Any

from launch import entry

CONFIG, WORKDIR = entry.define("configs/content.py", "workdir")


def main() -> None:
    """Flags to items and study to tables."""
    from launch import datasets
    from vla.experiments.content_study import ContentStudy, run

    config: dict[str, Any] = CONFIG.value.to_dict()
    study = ContentStudy(**config["study"])
    for path in run(study, datasets.read(config), entry.directory(WORKDIR.value)):
        print(path)


if __name__ == "__main__":
    entry.run(main)
