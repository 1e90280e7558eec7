"""Published vision and language models as readable networks: load_model, Model; load_clip, Clip."""

from vla.models.clip import Clip
from vla.models.loading import load_clip, load_model
from vla.models.model import Model
