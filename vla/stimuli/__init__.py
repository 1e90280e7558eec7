"""What is shown to the models: photographs with captions, a sample of them, and views of the sample."""

from vla.stimuli.caption_manipulations import CAPTION_MANIPULATIONS
from vla.stimuli.catalogue import prepare_dataset, read_dataset
from vla.stimuli.datasets.captioned_folder import read_captioned_folder
from vla.stimuli.draws import sample
from vla.stimuli.exemplars import caption_exemplars, image_exemplars
from vla.stimuli.image_manipulations import IMAGE_MANIPULATIONS
from vla.stimuli.images import decode_image
from vla.stimuli.mismatch import derangement, mismatched
from vla.stimuli.preferences import above_and_below_median, best_and_worst, preference_views
from vla.stimuli.tagging import Tagger
from vla.stimuli.views import caption_view, common_items, image_view, read_view, view
