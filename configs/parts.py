"""Parts that configs share: how a study runs, its items, its settings, the analysis of content."""

from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

CHOICES = (
    "protocol", "constant_targets", "language_pool", "vision_pool", "caption", "human_captions", "clip_groups",
    "long_captions", "ties", "grouped", "masked_fill", "rotation_corners", "unmasked", "scramble_cut", "empty_captions",
    "averaging", "synthetic_set", "family", "symmetric_items",
)  # fmt: skip
METRIC_SETTINGS = (
    # ridge regression
    "alphas", "outer_folds", "inner_cv", "alpha_per_target", "standardize_targets", "test_statistics", "measure",
    # of every metric: "duplicates" keeps items together that are the same stimulus
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


def any_value(value: Any = None) -> FieldReference:
    """A setting to which a flag may give a value of any type, such as a number in place of a word."""
    return FieldReference(value, field_type=object)


def items() -> ConfigDict:
    """Which items; documented in `vla.stimuli.read_dataset`."""
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


def data(name: str, n: int | str) -> ConfigDict:
    """The items of a study; documented in `vla.experiments.study.DatasetPlan` and in the reader of the dataset.

    `path` is its `directory`, `n` its `n_items`, or "all"; `captions` and `missing_captions` are options of
    `vla.stimuli.read_captioned_folder`.
    """
    config = ConfigDict({"name": name, "path": placeholder(str), "n": any_value(n), "called": ""})
    config.captions = placeholder(str)
    config.missing_images = "refuse"
    config.missing_captions = placeholder(str)
    config.data_dir = placeholder(str)
    config.paraphrases = ""
    config.synthetic = ""
    config.missing = "refuse"
    config.clip = ""
    config.tagger = "en_core_web_sm"
    return config


def metric_settings() -> ConfigDict:
    """Settings of metrics, documented in `vla.list_metrics()[name].settings`; None keeps the default."""
    return ConfigDict({name: any_value() for name in METRIC_SETTINGS})


def settings() -> ConfigDict:
    """Choices (`vla.experiments.choices.Choices`) and settings of metrics; None keeps the default."""
    return ConfigDict({name: any_value() for name in (*CHOICES, *METRIC_SETTINGS)})


def run() -> ConfigDict:
    """How a study runs; documented in `vla.experiments.study.Study`."""
    config = ConfigDict({"title": "", "note": "", "seed": 42, "seeds": ()})
    # Orders of shuffled items beside every score, such as 200.
    config.null = 5
    # Draws of items for intervals of scores, such as 200; splits into halves for the reliability of maps, such as 20.
    config.bootstrap = 0
    config.halves = 0
    config.confidence = 0.95
    config.intervals = "penultimate"
    config.dtype = "float32"
    config.batch_size = 0
    config.stream = False
    config.tensor_parallel = 1
    config.workers = 0
    # Where the image processor and the tokenizer are, for checkpoints that come without.
    config.processors = ConfigDict({"vision": "", "language": ""})
    # Fields of config.json that models are read without, such as ("auto_map",).
    config.ignore_fields = ()
    config.store = ""
    config.scores = ""
    config.tags = ""
    config.older = "refuse"
    config.shard = "0/1"
    config.stage = "all"
    return config


def content() -> ConfigDict:
    """Which alignment is analysed by content; documented in `vla.experiments.content_plan.ContentPlan`."""
    config = ConfigDict()
    # "all" pairs of models, the "first", or "none".
    config.pairs = "none"
    config.experiment = ""
    config.condition = ""
    config.vision_layer = "penultimate"
    config.language_layer = "penultimate"
    # Ratings of words, such as Brysbaert's of concreteness, which you fetch yourself.
    config.norms = ""
    config.norms_word = "Word"
    config.norms_value = "Conc.M"
    config.norms_view = "original"
    config.instances = ""
    config.score = "correlation"
    config.n_directions = 5
    config.n_extreme = 5
    return config
