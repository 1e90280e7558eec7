"""Parts that configs share: how a study runs, its items, its settings, the analysis of content.

Defaults are those of the dataclasses that document the settings; a setting of None takes the default.
"""

from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

CHOICES = (
    "protocol", "inner_cv", "alpha_per_target", "standardize_targets", "test_statistics", "constant_targets",
    "language_pool", "vision_pool", "caption", "human_captions", "clip_groups", "long_captions", "ties", "grouped",
    "masked_fill", "rotation_corners", "unmasked", "scramble_cut", "empty_captions", "averaging", "synthetic_set",
    "family", "symmetric_items",
)  # fmt: skip
METRIC_SETTINGS = (
    # ridge regression
    "alphas", "outer_folds", "inner_cv", "alpha_per_target", "standardize_targets", "test_statistics", "measure",
    # all metrics: "duplicates" keeps items with the same stimulus together
    "groups",
    # cka_rbf, mutual_knn, cknna
    "bandwidth", "neighbours", "nearness", "clip_quantile", "unbiased", "normalise", "offset",
    # rsa
    "dissimilarity", "comparison",
    # cca, svcca, pwcca
    "components", "regularisation", "squared", "variance", "weights",
    # shape distances, matching of units
    "alpha", "absolute",
)  # fmt: skip
# Settings of a dataset that are text, besides its folder.
DATASET = ("missing_images", "data_dir", "paraphrases", "synthetic", "missing", "clip", "tagger", "called")


def any_value(value: Any = None) -> FieldReference:
    """A setting to which a flag can give a value of any type."""
    return FieldReference(value, field_type=object)


def items() -> ConfigDict:
    """The items of a dataset; documented in `vla.stimuli.read_dataset`."""
    config = ConfigDict()
    config.dataset = "flickr8k"
    config.directory = placeholder(str)
    config.n_items = 1000
    config.seed = 42
    config.missing_images = "refuse"
    config.data_dir = placeholder(str)
    # Options of the reader, as in --config.options="{'image': 'img', 'text': 'caption'}".
    config.options = placeholder(object)
    return config


def dataset(name: str, n_items: int) -> ConfigDict:
    """A dataset of a study; documented in `vla.experiments.study.DatasetPlan`."""
    config = ConfigDict({"name": name, "n_items": n_items, "options": placeholder(object)})
    config.update({setting: placeholder(str) for setting in ("directory", *DATASET)})
    return config


def data(name: str, n: int | str) -> ConfigDict:
    """The only dataset of a study; documented in `vla.experiments.study.DatasetPlan` and in the reader of the dataset.

    `path` is its `directory`, `n` its `n_items`, or "all"; `captions` and `missing_captions` are options of
    `vla.stimuli.read_captioned_folder`.
    """
    config = ConfigDict({"name": name, "n": any_value(n)})
    config.update({setting: placeholder(str) for setting in ("path", "captions", "missing_captions", *DATASET)})
    return config


def choices() -> ConfigDict:
    """Choices that the paper leaves open; documented in `vla.experiments.choices.Choices`."""
    return ConfigDict({name: any_value() for name in CHOICES})


def metric_settings() -> ConfigDict:
    """Settings of metrics; documented in `vla.list_metrics()[name].settings`."""
    return ConfigDict({name: any_value() for name in METRIC_SETTINGS})


def settings() -> ConfigDict:
    """Choices and settings of metrics together."""
    return ConfigDict({name: any_value() for name in dict.fromkeys((*CHOICES, *METRIC_SETTINGS))})


def run() -> ConfigDict:
    """How a study runs; documented in `vla.experiments.study.Study`."""
    config = ConfigDict({"title": "", "note": ""})
    config.seed = placeholder(int)
    config.seeds = ()
    # Number of shuffled orders of items beside every score, such as 200.
    config.null = 5
    # Draws of items for intervals of scores, such as 200; splits into halves for the reliability of maps, such as 20.
    config.bootstrap = placeholder(int)
    config.halves = placeholder(int)
    config.confidence = placeholder(float)
    config.intervals = placeholder(str)
    config.dtype = placeholder(str)
    config.batch_size = placeholder(int)
    config.stream = placeholder(bool)
    config.tensor_parallel = placeholder(int)
    config.workers = placeholder(int)
    # Image processor and tokenizer for checkpoints without.
    config.processors = ConfigDict({"vision": "", "language": ""})
    # Fields of config.json to ignore, such as ("auto_map",).
    config.ignore_fields = ()
    config.store = placeholder(str)
    config.scores = placeholder(str)
    config.tags = placeholder(str)
    config.older = placeholder(str)
    config.shard = "0/1"
    config.stage = placeholder(str)
    return config


def training(
    model: str, steps: int, batch: int, learning_rate: float = 0.003, checkpoints: tuple[int, ...] = ()
) -> ConfigDict:
    """The training of a small model; documented in `examples.microworld_training.settings`."""
    config = ConfigDict({"model": model, "seed": 0, "world_seed": 7, "n_scenes": 20000, "n_held_out": 640})
    config.update({"steps": steps, "batch": batch, "learning_rate": learning_rate, "warmup": 50, "weight_decay": 0.05})
    config.checkpoints = checkpoints
    return config


def content() -> ConfigDict:
    """The alignment whose content is analysed; documented in `vla.experiments.study.ContentPlan`."""
    config = ConfigDict()
    # "all" pairs of models, the "first", or "none".
    config.pairs = placeholder(str)
    config.experiment = placeholder(str)
    config.condition = placeholder(str)
    config.vision_layer = placeholder(str)
    config.language_layer = placeholder(str)
    # Ratings of words, such as Brysbaert's of concreteness, which you download yourself.
    config.norms = placeholder(str)
    config.norms_word = placeholder(str)
    config.norms_value = placeholder(str)
    config.norms_view = placeholder(str)
    config.instances = placeholder(str)
    config.score = placeholder(str)
    config.n_directions = placeholder(int)
    config.n_extreme = placeholder(int)
    return config
