"""Experiments as data: conditions, comparisons between them, and what each condition shows."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vla.checks import check_choice
from vla.experiments.choices import Choices
from vla.records import Modality
from vla.stimuli.specs import ORIGINAL, read_spec
from vla.stimuli.views import ViewSpec, catalogue, read_view

LAYERS = ("all", "penultimate")
# "all", "penultimate", or names of layers.
Layers = str | tuple[str, ...]
_LAYER_NAME = re.compile(r"embed|block_\d+|final_norm")
GROWTH = ("", "parameters", "loss")


@dataclasses.dataclass(frozen=True)
class Condition:
    """What vision models see and what language models read.

    Attributes:
      name: Unique within its experiment.
      image: The images, as `read_side` reads it: "original", "rotation:angle=30", "preferred", "average:k=7".
      caption: The captions, likewise: "original", "nouns", "best_by_clip", "nouns + average:k=7 + mismatched".
      part: Conditions of one part show the same items; comparisons of one part are one family of tests.
      dataset: Role of the dataset; "" for that of the experiment.
      layers: "all", "penultimate", or names of layers that every model has; "" for those of the experiment.
      series: The curve of which the condition is a point; "" for none. A layer map gives one curve per layer.
      k: Position on the curve: the number of exemplars, of items, or of steps of training.
      items: Number of items, sampled anew for every seed; 0 for all.
      vision: Group of vision models; "" for that of the experiment.
      language: Group of language models, likewise.
    """

    name: str
    image: str = "original"
    caption: str = "original"
    part: str = ""
    dataset: str = ""
    layers: Layers = ""
    series: str = ""
    k: int = 0
    items: int = 0
    vision: str = ""
    language: str = ""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two conditions, the first of which is expected to align better.

    Attributes:
      name: Unique within its experiment; a paper's printed tests refer to it.
      higher: Name of a condition.
      lower: Name of a condition.
      claim: What it shows, in words, for the summary of the page; "" if it is not in the summary.
    """

    name: str
    higher: str
    lower: str
    claim: str = ""


@dataclasses.dataclass(frozen=True)
class PrintedTest:
    """A test as a paper prints it; numbers are text as printed, "" if not printed.

    Attributes:
      comparison: Name of the comparison.
      metric: Name of the metric.
      direction: "language_to_vision", "vision_to_language" or "symmetric".
      sign: "+" if `higher` of the comparison is higher, "-" if it is lower, "" if the paper does not say.
      significant: "yes", "no", or "" if the paper does not say.
      t: Student's t.
      p: Its p-value.
      q: Its p-value after control of the false discovery rate.
      source: Section or figure of the paper, such as "section 3.2.1".
    """

    comparison: str
    metric: str
    direction: str
    sign: str
    significant: str
    t: str
    p: str
    q: str
    source: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a claim: in words, with numbers; `holds` is None if the run cannot decide."""

    claim: str
    result: str
    holds: bool | None


def read_layers(value: str | Sequence[str] | None) -> Layers:
    """The layers that a config requests: "all", "penultimate", or names, as a sequence or as text with commas.

    Raises:
      ValueError: It names no layer.
    """
    if isinstance(value, str):
        names = tuple(name.strip() for name in value.split(","))
        if value in LAYERS:
            return value
        if len(names) == 1 and not _LAYER_NAME.fullmatch(value):
            raise ValueError(f"layers={value!r}; expected one of {', '.join(LAYERS)}, or names such as block_1,block_4")
        return names
    names = tuple(map(str, value or ()))
    if not names:
        raise ValueError(f"layers={value!r}; expected one of {', '.join(LAYERS)}, or names of layers")
    return names[0] if len(names) == 1 and names[0] in LAYERS else names


def over_models(points: Iterable[tuple[Any, ...]]) -> bool:
    """Whether the points of some curve are different models; points are (series, vision group, language group)."""
    unique = set(points)
    return len(unique) > len({series for series, *_ in unique})


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Conditions scored for every pair of models, and what is compared.

    Attributes:
      id: Short and unique, such as "E2".
      title: A few words.
      question: The question that it asks.
      conditions: The conditions that are scored.
      comparisons: The comparisons between them.
      figure: Numbers of figures of the paper; "" for none.
      expected: The expected outcome.
      dataset: Role of the dataset.
      layers: "all" pairs of layers, pairs of layers by name, or "penultimate" blocks only.
      metrics: Names of metrics; () for those of the study.
      vision: Group of vision models.
      language: Group of language models.
      printed: The tests that the paper prints of its comparisons.
      claims: Further claims of the paper, as `vla.report.claims.Claim`: functions from a run to outcomes.
      beside: Ids of experiments whose curves are drawn beside its shuffled curves.
      against: Draw the best pair of layers of every pair of models against the "parameters" or the "loss" of the
        language model; "" for neither.
    """

    id: str
    title: str
    question: str
    conditions: tuple[Condition, ...]
    comparisons: tuple[Comparison, ...] = ()
    figure: str = ""
    expected: str = ""
    dataset: str = "coco"
    layers: Layers = "penultimate"
    metrics: tuple[str, ...] = ()
    vision: str = "core"
    language: str = "core"
    printed: tuple[PrintedTest, ...] = dataclasses.field(default=(), repr=False, compare=False)
    claims: tuple[Callable[..., Iterable[Outcome]], ...] = dataclasses.field(default=(), repr=False, compare=False)
    beside: tuple[str, ...] = ()
    against: str = ""

    def __post_init__(self) -> None:
        """Fill in the conditions; check names."""
        check_choice(f"experiment {self.id!r}: against", self.against, GROWTH)
        shared = ("dataset", "layers", "vision", "language")
        filled = tuple(
            dataclasses.replace(each, **{name: getattr(each, name) or getattr(self, name) for name in shared})
            for each in self.conditions
        )
        try:
            object.__setattr__(self, "layers", read_layers(self.layers))
            filled = tuple(dataclasses.replace(condition, layers=read_layers(condition.layers)) for condition in filled)
        except ValueError as error:
            raise ValueError(f"experiment {self.id!r}: {error}") from error
        object.__setattr__(self, "conditions", filled)
        names = [condition.name for condition in filled]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"experiment {self.id!r} has the conditions {names}: expected one or more different names")
        for comparison in self.comparisons:
            higher, lower = comparison.higher, comparison.lower
            unknown = [name for name in (higher, lower) if name not in names]
            if unknown:
                raise ValueError(
                    f"experiment {self.id!r}, comparison {comparison.name!r}: no condition "
                    f"{', '.join(map(repr, unknown))}; there are {', '.join(sorted(names))}"
                )
            if self.condition(higher).part != self.condition(lower).part:
                raise ValueError(
                    f"experiment {self.id!r}, comparison {comparison.name!r}: {higher!r} and {lower!r} have different "
                    "parts, so their items can differ; give them the same part"
                )

    def condition(self, name: str) -> Condition:
        """The condition with a name."""
        return next(condition for condition in self.conditions if condition.name == name)

    @property
    def along_training(self) -> bool:
        """Whether the points of a curve are different models, such as checkpoints."""
        return over_models((each.series, each.vision, each.language) for each in self.conditions if each.series)

    def groups(self, modality: Modality) -> tuple[str, ...]:
        """The groups of models of its conditions, each once."""
        return tuple(dict.fromkeys(getattr(condition, modality) for condition in self.conditions))


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper whose experiments a study can run.

    Attributes:
      name: Name in a config: `config.paper`.
      citation: Authors, year, title.
      experiments: A function of its settings to its experiments by id; raises ValueError for a setting out of range.
      settings: Its settings with their defaults; a config has them beside `paper`.
      main_claims: A function of a run, a `vla.report.run_folder.RunFolder`, to the outcomes in the summary of the page.
    """

    name: str
    citation: str
    experiments: Callable[..., dict[str, Experiment]]
    settings: Mapping[str, int]
    main_claims: Callable[[Any], list[Outcome]]


def as_experiment(value: Experiment | Mapping[str, Any]) -> Experiment:
    """An experiment of a config: an `Experiment`, or a dictionary of its fields with dictionaries inside.

    Raises:
      ValueError: An unknown or a missing field; the message lists the fields.
    """
    if isinstance(value, Experiment):
        return value
    fields = _fields(value, Experiment, "an experiment")
    conditions = _records(fields.get("conditions", ()), Condition, f"a condition of {fields.get('id')!r}")
    comparisons = _records(fields.get("comparisons", ()), Comparison, f"a comparison of {fields.get('id')!r}")
    metrics = tuple(fields.get("metrics", ()))
    return Experiment(**{**fields, "conditions": conditions, "comparisons": comparisons, "metrics": metrics})


def _records(values: Sequence[Any], record: type, what: str) -> tuple[Any, ...]:
    return tuple(value if isinstance(value, record) else record(**_fields(value, record, what)) for value in values)


def _fields(value: Mapping[str, Any], record: type, what: str) -> dict[str, Any]:
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(record)}
    fields = dict(value)
    unknown = sorted(set(fields) - set(known))
    missing = [name for name, needed in known.items() if needed and name not in fields]
    if unknown or missing:
        raise ValueError(f"{what}: unknown {unknown}, missing {missing}; it has the fields {', '.join(known)}")
    if isinstance(fields.get("layers"), list):
        fields["layers"] = tuple(fields["layers"])
    return fields


BEST, WORST = "best_by_clip", "worst_by_clip"
LENGTH = "length"

# Images of judgments, as conditions name them.
_IMAGES = {"preferred": {}, "non_preferred": {"source": "rejected"}}
# Steps that a side has besides manipulations.
_SIDE_STEPS = {
    "vision": ("average", "non_preferred", "preferred"),
    "language": ("average", BEST, LENGTH, "mismatched", WORST),
}


@dataclasses.dataclass(frozen=True)
class Side:
    """What one modality is shown.

    Attributes:
      modality: The modality.
      members: Single views, of which the activations are averaged item by item. Captions that CLIP Score chooses, and
        lengths, are given by name.
      mismatched: Whether every item then gets the row of another item.
    """

    modality: Modality
    members: tuple[ViewSpec | str, ...]
    mismatched: bool = False


def read_side(spec: object, modality: Modality, choices: Choices) -> Side:
    """The side that a condition names.

    Args:
      spec: As `vla.stimuli.read_view` reads it: manipulations joined by " + ", with `source` and `index`. In addition:
        "average:k=5" for the mean of the first k captions (human ones, then paraphrases) or synthetic images;
        "preferred" and "non_preferred" images of judgments; "best_by_clip" and "worst_by_clip" captions; "mismatched"
        captions, each of another item; "length", the number of characters, words and tokens of the first caption.
      modality: The modality of the side.
      choices: What the condition leaves open.

    Raises:
      ValueError: An unknown step; the message lists the known ones.
    """
    steps: list[dict[str, Any]] = []
    average, mismatched, chosen, known = None, False, "", catalogue(modality)
    for name, parameters in read_spec(spec):
        if name == "average" and set(parameters) <= {"k"}:
            average = _count(spec, parameters.get("k"))
        elif name == "mismatched" and modality == "language" and not parameters:
            mismatched = True
        elif name in (BEST, WORST, LENGTH) and modality == "language" and not parameters:
            chosen = name
        elif name in _IMAGES and modality == "vision" and not parameters:
            steps.append({"name": ORIGINAL, **_IMAGES[name]})
        elif name in known or name == ORIGINAL:
            steps.append({"name": name, **choices.of_step(name, modality), **parameters})
        else:
            noun = "image" if modality == "vision" else "caption"
            raise ValueError(
                f"{spec!r}: no {noun} view is called {name!r}; expected one of "
                f"{', '.join(sorted([*known, *_SIDE_STEPS[modality], ORIGINAL]))}"
            )
    if chosen and (steps or average):
        raise ValueError(f"{spec!r}: {chosen} can only be combined with mismatched")
    if chosen in (BEST, WORST) and choices.clip_groups == "median":
        return Side(modality, tuple(f"{chosen}:place={i}" for i in range(2)), mismatched)
    if chosen:
        return Side(modality, (chosen,), mismatched)
    view = read_view(steps, modality)
    if average is None:
        if modality == "language" and not any("index" in step for step in steps):
            view = dataclasses.replace(view, index=choices.caption)
        return Side(modality, (view,), mismatched)
    if any("source" in step for step in steps):
        exemplars = [(view.source, i) for i in range(average)]
    elif modality == "language":
        human = min(average, choices.human_captions)
        exemplars = [("human", i) for i in range(human)] + [("paraphrase", i) for i in range(average - human)]
    else:
        photographs = int(choices.synthetic_set == "with_photograph")
        exemplars = [("photograph", 0)] * photographs + [("synthetic", i) for i in range(average - photographs)]
    members = tuple(dataclasses.replace(view, source=source, index=index) for source, index in exemplars)
    return Side(modality, members, mismatched)


def _count(spec: object, k: object) -> int:
    text = str(k)
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ValueError(f"{spec!r}: average needs a number k, such as average:k=5")
    return int(text)
