"""Trains the small models of `vla.microworld`, each on one type of data, and writes them in Hugging Face layout."""

from examples.microworld_training.run import train
from examples.microworld_training.settings import MODELS, Settings
