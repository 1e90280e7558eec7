"""CLIP Score of every human caption with its image.

Question: which captions of an image fit best and worst by the judgment of CLIP, as a stand-in for people?
Cost: one pass of CLIP over the images and one over the captions.

    python -m launch.clip_score --config.directory=flickr8k --workdir=run
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.parts import items


def get_config(arg: str = "") -> ConfigDict:
    """Settings; documented in `vla.activations.clip_score`."""
    if arg:
        raise ValueError(f"Unknown argument {arg!r}; this config takes none.")
    config = items()

    config.model = "openai/clip-vit-base-patch32"
    config.dtype = "float32"
    # Fields of config.json that CLIP is read without, such as ("auto_map",).
    config.ignore_fields = ()
    config.score = ConfigDict({"weight": 2.5, "prefix": "A photo depicts ", "truncate": False, "batch_size": 32})
    config.score.n_captions = placeholder(int)
    return config
