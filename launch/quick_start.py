"""The quick start's way from a config to a page: drawn scenes, untrained models, the layer map."""

from pathlib import Path
from typing import Any


def run_quick_start(config: Any, workdir: Path) -> None:
    """Draw, extract, score and write the page; prints the summary and the page's path."""
    from vla.experiments.layer_map import LayerMap, extract_all, open_store
    from vla.microworld.study import NOTE, prepare
    from vla.report.layer_map import write

    folder, models = prepare(workdir, config.n_items, config.seed)
    config.folder = str(folder)
    config.vision_models, config.language_models = (str(models.vision),), (str(models.language),)
    plan = LayerMap(**config.to_dict())
    extract_all(plan, open_store(plan, workdir))
    print(write(plan, workdir, note=NOTE).to_string(index=False))
    print(workdir / "report" / "index.html")
