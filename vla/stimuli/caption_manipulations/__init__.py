"""What can be done to captions: pure functions of one caption, and the tagging that some of them need."""

from vla.stimuli.caption_manipulations.applying import apply_steps
from vla.stimuli.caption_manipulations.catalogue import CAPTION_MANIPULATIONS
from vla.stimuli.caption_manipulations.tagging import DEFAULT_PIPELINE, Tagger, Token
