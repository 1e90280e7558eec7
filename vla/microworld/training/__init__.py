"""Trains the microworld's small models, each on one type of data, and writes them in Hugging Face layout."""

from vla.microworld.training.run import train
from vla.microworld.training.settings import MODELS, Settings
