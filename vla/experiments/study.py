"""A study as data: experiments, datasets, models, choices and settings."""

import dataclasses
import itertools
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla.alignment.duplicates import DUPLICATES
from vla.alignment.task import check_metrics, check_overrides, make_tasks
from vla.checks import POLICIES, check_choice, check_whole_number
from vla.experiments.choices import Choices
from vla.experiments.experiment import BEST, WORST, Condition, Experiment, Layers, Side, read_layers, read_side
from vla.experiments.names import field_names
from vla.metrics.registry import find
from vla.records import Modality
from vla.stimuli.catalogue import check_asked
from vla.stimuli.word_norms import VALUE, WORD

MODALITIES: tuple[Modality, ...] = ("vision", "language")
# The role of the dataset and the group of models of a config with `data` and without groups of models.
MAIN = "main"
STAGES = ("all", "extract", "score")
# Scores with intervals over items.
INTERVALS = ("penultimate", "all")
OLDER = ("refuse", "recompute")
DTYPES = ("float32", "bfloat16")
_COUNTS = ("null", "bootstrap", "halves", "batch_size", "tensor_parallel", "workers")
# Names of fields of `DatasetPlan` in `data` of a config.
IN_DATA = {"directory": "path", "n_items": "n"}
# Default of all metrics with folds.
OUTER_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class DatasetPlan:
    """The dataset of one role.

    Attributes:
      role: Name by which experiments refer to it: "main", "coco", "flickr8k", "pick_a_pic" or another name.
      name: Name of its reader, as of `vla.stimuli.read_dataset`.
      directory: Folder of its files; None downloads it.
      n_items: Number of sampled items; 0 for all.
      missing_images: Items whose image is missing: "refuse" or "drop".
      data_dir: Folder of downloaded datasets; None for the default.
      options: Options of the reader.
      paraphrases: Folder as of `with_paraphrases`; "" for none.
      synthetic: Folder as of `with_synthetic`; "" for none.
      missing: Items without paraphrases or synthetic images: "refuse" or "drop".
      clip: CLIP checkpoint for best and worst captions; "" for none.
      tagger: spaCy pipeline for parts of speech.
      called: Name of the dataset in tables and files; "" for the name of its reader.
    """

    role: str
    name: str
    directory: str | os.PathLike[str] | None = None
    n_items: int = 1000
    missing_images: str = "refuse"
    data_dir: str | os.PathLike[str] | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paraphrases: str = ""
    synthetic: str = ""
    missing: str = "refuse"
    clip: str = ""
    tagger: str = "en_core_web_sm"
    called: str = ""

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: An invalid value, or an unknown option of the reader.
        """
        check_whole_number(self._key("n_items"), self.n_items, 0)
        if self.role == MAIN and not self.directory and self.name == "captioned_folder":
            raise ValueError(f"no dataset: set {self.flag('directory', 'FOLDER')} to a folder of images with captions")
        try:
            check_choice("missing", self.missing, POLICIES)
            check_asked(self.name, self.directory, missing_images=self.missing_images, options=self.options)
        except ValueError as error:
            raise ValueError(f"{self._key()}: {error}") from error

    def flag(self, setting: str, value: object) -> str:
        """The flag that sets a field or an option of the reader, as typed in a shell."""
        return f"--config.{self._key(setting)}={shlex.quote(str(value))}"

    def _key(self, setting: str = "") -> str:
        """The name of the dataset, or of one of its settings, in a config."""
        if self.role == MAIN:
            return f"data.{IN_DATA.get(setting, setting)}" if setting else "data"
        return f"datasets.{self.role}" + f".{setting}" * bool(setting)


PAIRS = ("none", "first", "all")
SCORES = ("correlation", "match")


@dataclasses.dataclass(frozen=True)
class ContentPlan:
    """The analysis of content: the ridge maps of one condition between one layer of each model, in both directions.

    Attributes:
      pairs: "first": the first vision and the first language model of the experiment; "all" its pairs; or "none".
      experiment: Id of the experiment; "" for the first with a suitable condition.
      condition: Name of its condition; "" for the first with original images and captions.
      vision_layer: "penultimate", or the name of a layer of the vision models that the experiment extracts.
      language_layer: The same for the language models.
      norms: File of norms of words that you downloaded, such as Brysbaert's of concreteness; "" for none.
      norms_word: Its column of words.
      norms_value: Its column of values.
      norms_view: Manipulation of captions before their words are looked up.
      instances: COCO's instances file; "" for the one in the folder of the dataset, if it exists.
      score: The score of items that is compared between categories: "correlation" or "match".
      n_directions: Number of leading dimensions whose extreme items are listed.
      n_extreme: Number of items at each end, and of best and worst items.
    """

    pairs: str = "none"
    experiment: str = ""
    condition: str = ""
    vision_layer: str = "penultimate"
    language_layer: str = "penultimate"
    norms: str = ""
    norms_word: str = WORD
    norms_value: str = VALUE
    norms_view: str = "original"
    instances: str = ""
    score: str = "correlation"
    n_directions: int = 5
    n_extreme: int = 5

    def layer(self, modality: Modality) -> Layers:
        """The layer of the models of a modality."""
        return read_layers(self.vision_layer if modality == "vision" else self.language_layer)

    def __post_init__(self) -> None:
        """Check the settings before hours of extraction."""
        for name, value, allowed in (("pairs", self.pairs, PAIRS), ("score", self.score, SCORES)):
            check_choice(f"content.{name}", value, allowed)
        for name, layer in (("vision_layer", self.vision_layer), ("language_layer", self.language_layer)):
            layers = read_layers(layer)
            if layers == "all" or (layers != "penultimate" and len(layers) > 1):
                raise ValueError(f"content.{name}={layer!r}; expected penultimate or one layer's name")
        for name in ("norms", "instances"):
            path = getattr(self, name)
            if path and not Path(path).expanduser().is_file():
                raise ValueError(f"content.{name}={path!r} is not a file; name one that you downloaded, or '' for none")


@dataclasses.dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
      experiments: The experiments.
      datasets: Datasets by role.
      vision: Vision models by group: Hub ids, directories, or files of saved activations; "name=source" names a model;
        "model@30" is the name of the checkpoint of `model` after 30 steps.
      language: Language models by group.
      choices: Choices that the text of the paper leaves open.
      metrics: Metrics of experiments that name none, each once.
      overrides: Further settings of metrics; `groups` can be "duplicates". Groups of a dataset, such as prompts, are
        used by `choices.grouped`.
      seed: Seed of everything random: samples, folds, shuffles.
      seeds: Several seeds of the folds; () takes `seed`.
      null: Number of shuffled orders of items beside every score.
      bootstrap: Number of draws of items for the intervals of scores; 0 for none.
      halves: Number of splits of the items into halves, for the reliability of layer maps; 0 for none.
      confidence: Confidence level of the intervals over items, between 0 and 1.
      intervals: Scores with intervals over items: those of "penultimate" blocks, or "all", which includes layer maps,
        where every pair of layers multiplies the cost.
      dtype: Data type of models: "float32" or "bfloat16".
      batch_size: As of `vla.extract`; 0 for a size that suits the device.
      stream: Whether the blocks of a model are read from disk one at a time.
      tensor_parallel: Number of devices that share one copy of the weights.
      workers: Number of processes that decode images; 0 for threads.
      processors: Directory or Hub id of a tokenizer or image processor for checkpoints without, by the source of a
        model or, for all models of a modality, by "vision" or "language".
      ignore_fields: Fields of config.json to ignore, such as "auto_map"; at least one model must have each.
      store: Root of the activation store; "" for one in the working directory.
      scores: Root of the score store, likewise.
      tags: Folder of cached tags; "" for the default.
      older: Activations from older code: "refuse" or "recompute".
      shard: (i, n): this process does part i of n, counted from 0.
      stage: "extract", "score", or "all" for both.
      paper: Name of the paper of the experiments, whose claims the report checks; "" for none.
      title: Title of the report.
      note: A note at the top of the report.
      content: The analysis of content.
      commands: Commands of the run and of its report, by name.
    """

    experiments: tuple[Experiment, ...]
    datasets: Mapping[str, DatasetPlan]
    vision: Mapping[str, tuple[str, ...]]
    language: Mapping[str, tuple[str, ...]]
    choices: Choices = dataclasses.field(default_factory=Choices)
    metrics: tuple[str, ...] = ("linear_predictivity",)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 42
    seeds: tuple[int, ...] = ()
    null: int = 0
    bootstrap: int = 0
    halves: int = 0
    confidence: float = 0.95
    intervals: str = "penultimate"
    dtype: str = "float32"
    batch_size: int = 0
    stream: bool = False
    tensor_parallel: int = 1
    workers: int = 0
    processors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignore_fields: tuple[str, ...] = ()
    store: str = ""
    scores: str = ""
    tags: str = ""
    older: str = "refuse"
    shard: tuple[int, int] = (0, 1)
    stage: str = "all"
    paper: str = ""
    title: str = ""
    note: str = ""
    content: ContentPlan = dataclasses.field(default_factory=ContentPlan)
    commands: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings before hours of extraction."""
        ids = [experiment.id for experiment in self.experiments]
        if not ids or len(set(ids)) < len(ids):
            raise ValueError(f"experiments {ids}: expected one or more, each once")
        for setting, value, allowed in (
            ("stage", self.stage, STAGES),
            ("older", self.older, OLDER),
            ("dtype", self.dtype, DTYPES),
            ("intervals", self.intervals, INTERVALS),
        ):
            check_choice(setting, value, allowed)
        for setting in _COUNTS:
            check_whole_number(setting, getattr(self, setting), int(setting == "tensor_parallel"))
        if self.bootstrap and self.choices.constant_targets == "zero":
            raise ValueError(
                f"bootstrap={self.bootstrap} with constant_targets='zero': draws leave constant units out; "
                "set bootstrap=0 or constant_targets='left_out'"
            )
        object.__setattr__(self, "ignore_fields", field_names(self.ignore_fields))
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: expected each once")
        check_whole_number("overrides.outer_folds", self.overrides.get("outer_folds", OUTER_FOLDS), 2)
        i, n = self.shard
        if not 0 <= i < n:
            raise ValueError(f"shard={i}/{n}: expected i/n with i from 0 to n - 1")
        for experiment in self.experiments:
            self._check(experiment)
        groups = self.overrides.get("groups")
        if groups not in (None, DUPLICATES):
            raise ValueError(
                f"overrides.groups={groups!r}; expected {DUPLICATES!r}: a study takes other groups from its datasets"
            )
        if "splits" in self.overrides:
            raise ValueError("overrides.splits: conditions have different items; give splits to vla.score instead")
        metrics = list(dict.fromkeys(name for each in self.experiments for name in self.metrics_of(each)))
        check_overrides(metrics, self.overrides, also=("outer_folds",))
        for name in metrics:
            settings = {field.name for field in dataclasses.fields(find(name).settings)} | {"groups"}
            chosen = {**self.choices.overrides, **self.overrides}
            make_tasks([name], self.choices.protocol, self.seed, self.null,
                       {key: value for key, value in chosen.items() if key in settings},
                       self.bootstrap, self.halves, self.confidence)  # fmt: skip
        self._check_content(ids)

    def _check(self, experiment: Experiment) -> None:
        check_metrics(self.metrics_of(experiment), "metrics")
        for name in self.metrics_of(experiment):
            find(name)
        for modality in MODALITIES:
            groups = self.groups(modality)
            for group in experiment.groups(modality):
                if not groups.get(group):
                    known = ", ".join(sorted(name for name, models in groups.items() if models)) or "none"
                    if group == MAIN:
                        raise ValueError(
                            f"no {modality} models: set --config.{modality} to a Hub id or a folder, or to several as "
                            f"--config.{modality}=one/model,another/model"
                        )
                    raise ValueError(
                        f"experiment {experiment.id!r}: the group {group!r} has no {modality} models; groups with "
                        f"models: {known}"
                    )
        for condition in experiment.conditions:
            if condition.dataset not in self.datasets:
                raise ValueError(
                    f"experiment {experiment.id!r}, condition {condition.name!r}: no dataset has the role "
                    f"{condition.dataset!r}; there are {', '.join(sorted(self.datasets))}"
                )
            try:
                self.sides(condition)
            except ValueError as error:
                raise ValueError(f"experiment {experiment.id!r}, condition {condition.name!r}: {error}") from error

    def _check_content(self, ids: list[str]) -> None:
        content = self.content
        if content.pairs == "none":
            return
        if content.experiment and content.experiment not in ids:
            raise ValueError(f"content.experiment={content.experiment!r}; this study has {', '.join(ids)}")
        names = {c.name for each in self.experiments if content.experiment in ("", each.id) for c in each.conditions}
        if content.condition and content.condition not in names:
            raise ValueError(f"content.condition={content.condition!r}; there are {', '.join(sorted(names))}")

    def sides(self, condition: Condition) -> tuple[Side, Side]:
        """The sides of the vision models and of the language models."""
        return (
            read_side(condition.image, "vision", self.choices),
            read_side(condition.caption, "language", self.choices),
        )

    @property
    def clips(self) -> tuple[str, ...]:
        """The CLIP checkpoints whose scores choose the captions of a condition, each once."""
        return tuple(dict.fromkeys(
            plan.clip
            for experiment in self.experiments
            for condition in experiment.conditions
            if (plan := self.datasets[condition.dataset]).clip
            and any(str(member).startswith((BEST, WORST)) for side in self.sides(condition) for member in side.members)
        ))  # fmt: skip

    @property
    def all_models(self) -> tuple[str, ...]:
        """The vision and language models of the experiments, each once."""
        return tuple(dict.fromkeys(
            model for experiment in self.experiments for modality in MODALITIES
            for model in self.models(experiment, modality)
        ))  # fmt: skip

    def draws(self, layers: Layers) -> int:
        """Number of draws of items for the intervals of scores at these layers."""
        return self.bootstrap if layers == "penultimate" or self.intervals == "all" else 0

    def splits(self, layers: Layers) -> int:
        """Number of splits of items into halves, for layer maps only."""
        return self.halves if layers != "penultimate" else 0

    def flag(self, setting: str, value: object) -> str:
        """The flag that sets a choice or a setting of metrics, as typed in a shell."""
        group = "choices" if setting in {field.name for field in dataclasses.fields(Choices)} else "overrides"
        return f"--config.{'settings' if MAIN in self.datasets else group}.{setting}={shlex.quote(str(value))}"

    def metrics_of(self, experiment: Experiment) -> tuple[str, ...]:
        """Names of the metrics of an experiment."""
        return experiment.metrics or self.metrics

    def groups(self, modality: Modality) -> Mapping[str, tuple[str, ...]]:
        """The models of a modality by group."""
        return self.vision if modality == "vision" else self.language

    def models(self, experiment: Experiment, modality: Modality) -> list[str]:
        """All models of a modality of an experiment, each once."""
        groups = self.groups(modality)
        return list(dict.fromkeys(model for group in experiment.groups(modality) for model in groups[group]))

    def pairs(self, condition: Condition) -> list[tuple[str, str]]:
        """All pairs of a vision and a language model of a condition, each once."""
        groups = (dict.fromkeys(self.vision[condition.vision]), dict.fromkeys(self.language[condition.language]))
        return list(itertools.product(*groups))
