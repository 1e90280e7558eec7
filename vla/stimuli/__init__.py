"""What is shown to the models: photographs with captions, a sample of them, and views of the sample."""

from vla.stimuli.captioned_folder import read_captioned_folder
from vla.stimuli.images import decode_image
from vla.stimuli.sampling import sample
from vla.stimuli.views import caption_view, image_view
