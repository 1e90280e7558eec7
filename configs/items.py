"""Which items: the part that every config of a dataset begins with."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def items() -> ConfigDict:
    """Values by name; the words behind them are in `vla.stimuli.read_dataset`."""
    config = ConfigDict()
    config.dataset = "flickr8k"
    config.directory = placeholder(str)
    config.n_items = 1000
    config.seed = 42
    config.missing_images = "refuse"
    config.data_dir = placeholder(str)
    # Of the dataset's reader, as in --config.options="{'image': 'img', 'text': 'caption'}".
    config.options = placeholder(object)
    return config
