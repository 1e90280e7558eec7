"""A drawn world of scenes and captions, with small models trained on it, to try the whole pipeline offline."""

from vla.microworld.captions import Caption, describe, paraphrase
from vla.microworld.drawing import draw, draw_with_map
from vla.microworld.scenes import Scene, scene
from vla.microworld.tagger import write_tagger
from vla.microworld.world_folder import WorldFolders, write_world
