"""micro-bloom: a BLOOM-architecture decoder trained on next tokens of captions, without images.

Question: does a network that has only read captions of other scenes align with vision models?
Cost: about 3 minutes on one core.
Expect: 1.20 nats per token; unigram frequencies give 4.52, bigram frequencies 2.03.

    python -m launch.train --config=configs/microworld/bloom.py
"""

from ml_collections import ConfigDict

from configs import parts


def get_config() -> ConfigDict:
    """Settings; documented in `examples.microworld_training.settings`."""
    return parts.training("micro-bloom", steps=1300, batch=32)
