"""A study: which experiments, on which datasets and models, by which choices."""

import dataclasses
import itertools
import shlex
from collections.abc import Mapping
from typing import Any

from vla.alignment.duplicates import DUPLICATES
from vla.alignment.task import check_metrics, check_overrides, make_tasks
from vla.checks import POLICIES, check_choice, check_whole_number
from vla.experiments.choices import Choices
from vla.experiments.content_plan import ContentPlan
from vla.experiments.experiment import Condition, Experiment, Layers, Side, read_side
from vla.experiments.naming import field_names
from vla.metrics import find
from vla.records import Modality
from vla.stimuli.catalogue import check_asked

MODALITIES: tuple[Modality, ...] = ("vision", "language")
# The role of the dataset, and the group of models, of a study that has one of each: a config's `data`, `vision` and
# `language`.
MAIN = "main"
STAGES = ("all", "extract", "score")
# Which scores get intervals over items and halves.
INTERVALS = ("penultimate", "all")
OLDER = ("refuse", "recompute")
DTYPES = ("float32", "bfloat16")
_COUNTS = ("null", "bootstrap", "halves", "batch_size", "tensor_parallel", "workers")
# What `data` of a config calls fields of `DatasetPlan`.
IN_DATA = {"directory": "path", "n_items": "n"}
# Of every metric that has folds, unless `overrides` says otherwise.
OUTER_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class DatasetPlan:
    """Where the items of one role come from.

    Attributes:
      role: What experiments call it: "main", "coco", "flickr8k", "pick_a_pic" or another name.
      name: Of its reader, as of `vla.stimuli.read_dataset`.
      directory: Where its files are; None fetches it.
      n_items: Items drawn; 0 for all.
      missing_images: "refuse" or "drop".
      data_dir: Where fetched datasets are kept; None for the usual place.
      options: Of the reader.
      paraphrases: Folder as of `with_paraphrases`; "" for none.
      synthetic: Folder as of `with_synthetic`; "" for none.
      missing: Items without paraphrases or synthetic images: "refuse" or "drop".
      clip: CLIP checkpoint for best and worst captions; "" for none.
      tagger: spaCy pipeline for parts of speech.
      called: What tables and files call the dataset; "" for its own name.
    """

    role: str
    name: str
    directory: Any = None
    n_items: int = 1000
    missing_images: str = "refuse"
    data_dir: Any = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paraphrases: str = ""
    synthetic: str = ""
    missing: str = "refuse"
    clip: str = ""
    tagger: str = "en_core_web_sm"
    called: str = ""

    def __post_init__(self) -> None:
        """Refuse what no files could mend.

        Raises:
          ValueError: A setting with a value that it cannot have; an option that the reader does not have.
        """
        where = self._key()
        check_whole_number(self._key("n_items"), self.n_items, 0)
        if self.role == MAIN and not self.directory and self.name == "captioned_folder":
            raise ValueError(f"no dataset: set {self.flag('directory', 'FOLDER')} to a folder of images with captions")
        try:
            check_choice("missing", self.missing, POLICIES)
            check_asked(self.name, self.directory, missing_images=self.missing_images, options=self.options)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def flag(self, setting: str, value: object) -> str:
        """The flag that gives a field or an option of the reader this value, as it is typed in a shell."""
        return f"--config.{self._key(setting)}={shlex.quote(str(value))}"

    def _key(self, setting: str = "") -> str:
        """What a config calls the dataset, or one of its settings."""
        if self.role == MAIN:
            return f"data.{IN_DATA.get(setting, setting)}" if setting else "data"
        return f"datasets.{self.role}" + f".{setting}" * bool(setting)


@dataclasses.dataclass(frozen=True)
class Study:
    """What to run.

    Attributes:
      experiments: What is asked.
      datasets: By role.
      vision: Vision models by group: Hub ids, directories, or files of saved activations; "name=source" gives a model
        a name of its own; one called "model@30" is the checkpoint of `model` after 30 steps.
      language: Language models by group.
      choices: What the paper leaves open.
      metrics: Of experiments that name none, each once.
      overrides: Further settings of metrics; `groups` can be "duplicates". Groups of a dataset, such as prompts, are
        used by `choices.grouped`.
      seed: Of samples, folds, shuffles and whatever else is drawn.
      seeds: Of the folds, where scores of several are wanted; () takes `seed`.
      null: Number of shuffled correspondences beside every score.
      bootstrap: Number of draws of items for the intervals of scores; 0 for none.
      halves: Number of splits of the items into halves, for the reliability of layer maps; 0 for none.
      confidence: Of the intervals over items, between 0 and 1.
      intervals: Which scores get intervals over items: those of "penultimate" blocks, or "all", also those of layer
        maps, where every pair of layers multiplies the cost.
      dtype: "float32" or "bfloat16".
      batch_size: As of `vla.extract`; 0 for what suits the device.
      stream: Whether models' blocks are read from disk one at a time.
      tensor_parallel: Devices that share one copy of the weights.
      workers: Processes that decode images; 0 for threads.
      processors: Directory or Hub id of tokenizer or image processor for checkpoints without, by the source of a model
        or, for all models of a modality, by "vision" or "language".
      ignore_fields: Fields of config.json that models are read without, such as "auto_map"; a model has none, some or
        all of them.
      store: Root of the activation store; "" for one under the working directory.
      scores: Root of the score store, likewise.
      tags: Where tags are kept; "" for the usual place.
      older: Activations that older code made: "refuse" or "recompute".
      shard: (i, n): this process does part i of n, counted from 0.
      stage: "extract" and "score" do that alone; "all" both.
      paper: Name of the paper whose experiments these are; "" for none. The report finds its claims by it.
      title: Of the report.
      note: What a reader must know first.
      content: What of its alignment is looked into.
      commands: How the run was started and the report is rebuilt, by name.
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
        """Refuse what would fail only after hours of extraction."""
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
        metrics = list(dict.fromkeys(name for one in self.experiments for name in self.metrics_of(one)))
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
                    there = ", ".join(sorted(name for name, models in groups.items() if models)) or "none"
                    if group == MAIN:
                        raise ValueError(
                            f"no {modality} models: set --config.{modality} to a Hub id or a folder, or to several as "
                            f"--config.{modality}=one/model,another/model"
                        )
                    raise ValueError(
                        f"experiment {experiment.id!r} asks for the {modality} models {group!r}, of which there are "
                        f"none; groups with models: {there}"
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
        asked = self.content
        if asked.pairs == "none":
            return
        if asked.experiment and asked.experiment not in ids:
            raise ValueError(f"content.experiment={asked.experiment!r}; this study has {', '.join(ids)}")
        names = {c.name for one in self.experiments if asked.experiment in ("", one.id) for c in one.conditions}
        if asked.condition and asked.condition not in names:
            raise ValueError(f"content.condition={asked.condition!r}; there are {', '.join(sorted(names))}")

    def sides(self, condition: Condition) -> tuple[Side, Side]:
        """What vision models are shown, and language models."""
        return (
            read_side(condition.image, "vision", self.choices),
            read_side(condition.caption, "language", self.choices),
        )

    def draws(self, layers: Layers) -> int:
        """Number of draws of items for the intervals of scores at these layers."""
        return self.bootstrap if layers == "penultimate" or self.intervals == "all" else 0

    def splits(self, layers: Layers) -> int:
        """Number of splits of items into halves, of layer maps only."""
        return self.halves if layers != "penultimate" else 0

    def flag(self, setting: str, value: object) -> str:
        """The flag that gives a choice or a setting of metrics this value, as it is typed in a shell."""
        own = "choices" if setting in {field.name for field in dataclasses.fields(Choices)} else "overrides"
        return f"--config.{'settings' if MAIN in self.datasets else own}.{setting}={shlex.quote(str(value))}"

    def metrics_of(self, experiment: Experiment) -> tuple[str, ...]:
        """Names of the metrics of an experiment."""
        return experiment.metrics or self.metrics

    def groups(self, modality: Modality) -> Mapping[str, tuple[str, ...]]:
        """The models of a modality by group."""
        return self.vision if modality == "vision" else self.language

    def models(self, experiment: Experiment, modality: Modality) -> list[str]:
        """Sources of all models of a modality that an experiment looks at, each once."""
        groups = self.groups(modality)
        return list(dict.fromkeys(given for group in experiment.groups(modality) for given in groups[group]))

    def pairs(self, condition: Condition) -> list[tuple[str, str]]:
        """Sources of vision and language model of every pair that a condition, filled in by its experiment, shows, each
        once.
        """
        groups = (dict.fromkeys(self.vision[condition.vision]), dict.fromkeys(self.language[condition.language]))
        return list(itertools.product(*groups))
