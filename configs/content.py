"""What carries the alignment: dimensions, items, kinds of content.

Question: along which directions do two models agree, on which items best and worst, and for which kinds of content?
Cost: the extraction of one layer a model, then seconds a pair of models for 1,000 items.

    python -m launch.content --config.dataset=coco_val2017 --config.directory=coco \
        --config.study.vision_models=facebook/dinov2-base --config.study.language_models=HuggingFaceTB/SmolLM2-1.7B \
        --config.study.instances=coco/annotations/instances_val2017.json --config.study.norms=ratings.csv --workdir=run
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.items import items


def get_config(arg: str = "") -> ConfigDict:
    """Values by name; the words behind them are in `vla.experiments.content` and `vla.experiments.content_study`."""
    if arg:
        raise ValueError(f"Unknown argument {arg!r}; this config takes none.")
    config = items()

    config.study = ConfigDict()
    config.study.vision_models = ()
    config.study.language_models = ()
    # Fields of config.json that models are read without, such as ("auto_map",).
    config.study.ignore_fields = ()
    config.study.image_view = "original"
    config.study.caption_view = "original"
    config.study.vision_pool = "cls"
    config.study.language_pool = "mean"
    config.study.vision_layer = "penultimate"
    config.study.language_layer = "penultimate"
    config.study.dtype = "float32"
    config.study.protocol = "paper"
    config.study.seed = 42
    # Of the ridge map, as in --config.study.overrides="{'inner_cv': 5}".
    config.study.overrides = placeholder(object)
    config.study.n_directions = 5
    config.study.n_extreme = 5
    config.study.score = "correlation"

    # Which things a photograph shows: COCO's instances file; "" for none.
    config.study.instances = ""
    # Ratings of words, such as Brysbaert's of concreteness, which you fetch yourself; "" for none.
    config.study.norms = ""
    config.study.norms_word = "Word"
    config.study.norms_value = "Conc.M"
    # Which words of a caption count: "original" for all, or a manipulation such as "nouns" (which needs a tagger).
    config.study.norms_view = "original"
    config.study.tagger = "en_core_web_sm"
    return config
