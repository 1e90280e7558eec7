"""Contact sheet of a dataset: its images and captions, original and manipulated, as models are shown them.

Question: do the conditions show what they should show?
Cost: seconds; with masks of things and stuff every mask is read, tens of seconds for 5,000.

    python -m launch.stimuli --config=configs/stimuli.py --config.directory=flickr8k
    python -m launch.stimuli --config.dataset=coco_val2017 --config.directory=coco \
        --config.image_views='("original", "things_only:fill=mean", "rotation:angle=30 + blur:sigma=2")' \
        --config.caption_views='("original", "nouns", "scrambled:fraction=0.5")'

`all` shows every manipulation that the dataset allows, and says why others are not shown.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.parts import items


def get_config(arg: str = "") -> ConfigDict:
    """Settings; specs of views are documented in `vla.stimuli.view`."""
    if arg:
        raise ValueError(f"Unknown argument {arg!r}; expected ''.")
    config = items()

    config.image_views = placeholder(object)
    config.caption_views = placeholder(object)
    config.image_views = config.caption_views = "all"
    config.n_shown = 8
    config.side = 192
    # A vision model by whose preprocessing images are resized and cropped; "" shows the original images.
    config.vision_model = ""
    # Fields of its config.json that it is read without, such as ("auto_map",).
    config.ignore_fields = ()
    # A spaCy pipeline by name or folder, and the folder of its cached tags; "" for ~/.cache/vla/tags.
    config.tagger = "en_core_web_sm"
    config.tags = ""
    return config
