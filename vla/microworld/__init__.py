"""A drawn world of scenes and captions, so that the whole pipeline can be tried offline."""

from vla.microworld.captions import describe
from vla.microworld.checkpoints import write_untrained_checkpoints
from vla.microworld.dataset import write_microworld
from vla.microworld.drawing import draw
from vla.microworld.scenes import Scene, Thing, scene
