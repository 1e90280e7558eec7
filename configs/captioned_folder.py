"""Layer by layer alignment on a folder of photographs with captions (such as Flickr8k).

Question: which layers of a vision model and of a language model agree, and in which direction?
Cost: 1,000 items take minutes on a laptop for models of ViT-S size; scoring costs minutes for any size.

    python -m launch.extract --config=configs/captioned_folder.py --config.folder=flickr8k \
        --config.vision_models=facebook/dinov2-base --config.language_models=HuggingFaceTB/SmolLM2-1.7B
    python -m launch.score ...   (the same flags)

`:quick` as argument takes 200 items and the penultimate layers only.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.paper import overrides


def get_config(arg: str = "") -> ConfigDict:
    """Values by name; the words behind them are in `vla.experiments.layer_map.LayerMap`."""
    if arg not in ("", "quick"):
        raise ValueError(f"Unknown argument {arg!r}; expected '' or 'quick'.")
    config = ConfigDict()
    config.folder = ""
    config.captions = ""
    config.name = ""
    config.missing_images = "refuse"
    config.missing_captions = "refuse"
    config.n_items = 200 if arg == "quick" else 1000
    config.seed = 42
    config.caption = 0

    config.vision_models = ()
    config.language_models = ()
    config.vision_processor = ""
    config.language_processor = ""
    # Fields of config.json that models are read without, such as ("auto_map",).
    config.ignore_fields = ()
    config.vision_pool = "cls"
    config.language_pool = "mean"
    config.layers = placeholder(object)
    if arg == "quick":
        config.layers = "penultimate"
    config.dtype = "float32"
    config.batch_size = 0
    config.stream = False
    config.tensor_parallel = 1
    config.workers = 0

    config.metrics = ("linear_predictivity", "cka", "cka_debiased")
    config.protocol = "paper"
    config.overrides = overrides()
    config.null = 5
    # Draws of items for intervals and splits into halves for reliability, such as 200 and 20.
    config.bootstrap = 0
    config.halves = 0
    config.confidence = 0.95
    config.store = ""
    return config
