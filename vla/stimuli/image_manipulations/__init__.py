"""What can be done to images: pure functions of one image, and the pictures that apply them when opened."""

from vla.stimuli.image_manipulations.catalogue import IMAGE_MANIPULATIONS
from vla.stimuli.image_manipulations.picture import ManipulatedPicture, source_content
