"""Layer maps of your own images: a folder of images with captions (such as Flickr8k), and two checkpoints or more.

Question: which layers of a vision model and of a language model agree, and in which direction?
Cost: 1,000 items take minutes on a laptop for models of ViT-S size; `--dry_run` estimates it for any.

    python -m launch.reproduce --config=configs/captioned_folder.py --config.data.path=flickr8k --workdir=run \
        --config.vision=facebook/dinov2-base --config.language=HuggingFaceTB/SmolLM2-1.7B

Argument: quick (200 items, the penultimate layers only).
"""

from ml_collections import ConfigDict

from configs import parts

LAYER_MAP = {
    "id": "layer_map",
    "title": "Layer maps",
    "question": "Which layers of a vision model and of a language model agree, and in which direction?",
    "conditions": ({"name": "original"},),
}


def get_config(arg: str = "") -> ConfigDict:
    """Settings; documented in `vla.experiments.study`, `vla.experiments.choices` and `vla.metrics`."""
    if arg not in ("", "quick"):
        raise ValueError(f"Unknown argument {arg!r}; expected '' or 'quick'.")
    quick = arg == "quick"
    config = parts.run()
    config.title = "Layer maps of a captioned folder"
    config.data = parts.data("captioned_folder", n=200 if quick else 1000)
    config.vision = config.language = ()
    config.metrics = ("linear_predictivity", "cka", "cka_debiased")
    config.layers = parts.any_value("penultimate" if quick else "all")
    config.settings = parts.settings()
    config.own_experiments = (LAYER_MAP,)
    config.content = parts.content()
    # With --config.bootstrap every pair of layers gets an interval.
    config.intervals = "all"
    return config
