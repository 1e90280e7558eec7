"""micro-vit: a ViT-architecture network trained on the attributes of scenes: stuff, things, colours, counts.

Question: does a network that was trained on the content of images, without any words, align with text?
Cost: about 6 minutes on one core.
Expect: 7.1 nats per scene (frequencies give 22.6); things 2.4 (5.3), their number 0.85 (1.06).

    python -m launch.train --config=configs/microworld/vit.py
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Settings; documented in `examples.microworld_training.settings`."""
    config = ConfigDict()
    config.model = "micro-vit"
    config.seed = 0
    config.world_seed = 7
    config.n_scenes = 20000
    config.n_held_out = 640
    config.steps = 1400
    config.batch = 32
    config.learning_rate = 0.003
    config.warmup = 50
    config.weight_decay = 0.05
    config.checkpoints = ()
    return config
