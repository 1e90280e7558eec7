"""Published vision and language models as readable networks: load_model, Model."""

from vla.models.loading import load_model
from vla.models.model import Model
