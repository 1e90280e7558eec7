"""Ten pictures of every item, drawn by Stable Diffusion from its five captions, two of each.

Question: does alignment rise when pictures of one meaning are averaged, as it does with captions?
Cost: 10,000 pictures for 1,000 items; 50 steps each, seconds on a GPU and minutes on a CPU. `--dry_run` says how many
are still to be drawn. A killed run goes on where it was, and any picture can be drawn again alone.

    python -m launch.generate --config=configs/synthetic_images.py --config.directory=flickr8k --dry_run
    python -m launch.generate --config=configs/synthetic_images.py --config.directory=flickr8k \
        --config.painter.dtype=float16 --config.plan.together=5
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.items import items


def get_config(arg: str = "") -> ConfigDict:
    """Values by name; the words behind them are in `vla.stimuli.generators`. `:quick` draws one picture of 20 items."""
    if arg not in ("", "quick"):
        raise ValueError(f"Unknown argument {arg!r}; expected '' or 'quick'.")
    config = items()
    config.kind = "synthetic_images"
    if arg == "quick":
        config.n_items = 20

    config.painter = ConfigDict()
    config.painter.model = "CompVis/stable-diffusion-v1-4"
    config.painter.revision = placeholder(str)
    config.painter.steps = 50
    config.painter.guidance = 7.5
    config.painter.height = placeholder(int)
    config.painter.width = placeholder(int)
    config.painter.safety_checker = True
    config.painter.dtype = "float32"
    config.painter.device = ""
    config.painter.truncate_prompts = False

    config.plan = ConfigDict({"n_captions": 5, "variants": 2, "together": 1, "seed": 42})
    config.run = ConfigDict({"flagged": "redraw"})
    if arg == "quick":
        config.plan.update({"n_captions": 1, "variants": 1})
    return config
