"""The quick start: the study on a drawn world, offline, with E1 to E9 and E11 by the engine that runs the paper.

Question: what does the study look like, from conditions to statistics, on a world that fits a laptop?
Cost: about two minutes on two cores; seconds if nothing has changed. `:quick` takes 60 scenes and short averages.
Expect: an illustration by four small models that were trained apart, on images or on captions of this world. The same
models before training: --config.microworld.models=untrained.

    python -m launch.reproduce
"""

from ml_collections import ConfigDict

from configs import paper


def get_config(arg: str = "") -> ConfigDict:
    """The settings of the paper, and the world to draw."""
    if arg not in ("", "quick"):
        raise ValueError(f"Unknown argument {arg!r}; expected '' or 'quick'.")
    quick = arg == "quick"
    config = paper.get_config("core")
    config.title = "The study on a drawn world"
    config.note = (
        "Drawn scenes and small models: this page shows what the study does and what its output looks like. It is an "
        "illustration, and no evidence about large models or photographs."
    )
    n = 60 if quick else 500
    config.microworld = ConfigDict({"n": n, "seed": 42, "renderings": 3 if quick else 10, "paraphrases": 10})
    config.microworld.models = "trained"
    config.microworld.training = not quick
    config.captions = 7 if quick else 15
    config.images = 3 if quick else 10
    config.sweep = () if quick else (125, 250, 500)
    for role in config.datasets:
        config.datasets[role].n_items = 0
        config.datasets[role].clip = ""
    for group in config.vision:
        config.vision[group] = ()
    for group in config.language:
        config.language[group] = ()
    config.null = 0 if quick else 1
    # Small networks take small batches.
    config.batch_size = 8
    return config
