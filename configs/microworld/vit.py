"""micro-vit: a ViT-architecture network trained on the attributes of scenes: stuff, things, colours, counts.

Question: does a network that was trained on the content of images, without any words, align with text?
Cost: about 6 minutes on one core.
Expect: 7.1 nats per scene (frequencies give 22.6); things 2.4 (5.3), their number 0.85 (1.06).

    python -m launch.train --config=configs/microworld/vit.py
"""

from ml_collections import ConfigDict

from configs import parts


def get_config() -> ConfigDict:
    """Settings; documented in `examples.microworld_training.settings`."""
    return parts.training("micro-vit", steps=1400, batch=32)
