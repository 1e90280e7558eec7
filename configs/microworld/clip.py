"""micro-clip: a CLIP-architecture judge of captions, for CLIP Score; it learns from pairs of scene and caption.

Question: which caption fits a scene best? It is no model of the study, whose models never see a pair.
Cost: about 4 minutes of one core.
Expect: the right one of 64 captions found in 34 of 100, twenty times as often as by chance.

    python -m launch.train --config=configs/microworld/clip.py
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Values by name; the words behind them are in `vla.microworld.training.settings`."""
    config = ConfigDict()
    config.model = "micro-clip"
    config.seed = 0
    config.world_seed = 7
    config.n_scenes = 20000
    config.n_held_out = 640
    config.steps = 450
    config.batch = 64
    config.learning_rate = 0.003
    config.warmup = 50
    config.weight_decay = 0.05
    config.checkpoints = ()
    return config
