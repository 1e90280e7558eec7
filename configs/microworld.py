"""The quick start: the layer map on a drawn world, offline, in about a minute.

Question: does the whole way from pictures and captions to an alignment map work here, and what does it look like?
Expect: original far above shuffled in both directions, because the scenes and their captions say the same things. The
two models are untrained, so this shows the machinery and is no evidence about trained models.

    python -m launch.reproduce
"""

from ml_collections import ConfigDict

from configs import captioned_folder


def get_config(arg: str = "") -> ConfigDict:
    """The layer map's values, plus how many scenes are drawn and from which seed; `:quick` draws fewer."""
    config = captioned_folder.get_config()
    config.name = "microworld"
    if arg not in ("", "quick"):
        raise ValueError(f"Unknown argument {arg!r}; expected '' or 'quick'.")
    config.n_items = 60 if arg == "quick" else 500
    return config
