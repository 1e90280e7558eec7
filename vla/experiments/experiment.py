"""An experiment as data: conditions, and comparisons between them."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vla.checks import check_choice
from vla.experiments.choices import Choices
from vla.records import Modality
from vla.stimuli import CAPTION_MANIPULATIONS, IMAGE_MANIPULATIONS
from vla.stimuli.specs import ORIGINAL, read_spec, read_steps

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
      image: Which images, as `read_side` reads it: "original", "rotation:angle=30", "preferred", "average:k=7".
      caption: Which captions, likewise: "original", "nouns", "best_by_clip", "nouns + average:k=7 + mismatched".
      part: Conditions of one part show the same items; comparisons of one part are one family of tests.
      dataset: Role of the dataset; "" for the experiment's.
      layers: "all", "penultimate", or names of layers that every model has; "" for the experiment's.
      series: The curve that the condition is a point of; "" for none. Of layer maps each layer has a curve of its own.
      k: Where on it: the number of exemplars, of items, or of steps of training.
      items: How many of the sampled items, drawn anew for every seed; 0 for all.
      vision: Group of vision models; "" for the experiment's.
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
      claim: What it shows, in words, where the page says so in its summary; "" elsewhere.
    """

    name: str
    higher: str
    lower: str
    claim: str = ""


@dataclasses.dataclass(frozen=True)
class PrintedTest:
    """A test as a paper prints it; each number is text as printed, "" where the paper prints none.

    Attributes:
      comparison: Name of the comparison.
      metric: Name of the metric.
      direction: "language_to_vision", "vision_to_language" or "symmetric".
      sign: "+" where `higher` of the comparison is higher, "-" where it is lower, "" where the paper does not say.
      significant: "yes", "no", or "" where the paper does not say.
      t: Student's t.
      p: Its p-value.
      q: Its p-value after control of the false discovery rate.
      source: Where the paper has it, such as "section 3.2.1".
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
    """A claim and what a run says of it.

    Attributes:
      claim: In words.
      found: What the run shows, in words with numbers.
      holds: None where the run cannot say.
    """

    claim: str
    found: str
    holds: bool | None


def read_layers(value: Any) -> Layers:
    """Which layers a config asks for.

    Args:
      value: "all", "penultimate", a name or several names of layers, as a sequence or joined by commas.

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
    """Whether some curve goes over models, by the points of curves as (series, vision group, language group)."""
    found = set(points)
    return len(found) > len({series for series, *_ in found})


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Conditions scored for every pair of models, and what is compared.

    Attributes:
      id: Short and unique, such as "E2".
      title: In a few words.
      question: What it asks.
      conditions: What is scored.
      comparisons: What is compared.
      figure: Figures of the paper; "" for none.
      expected: The outcome to check.
      dataset: Role of the dataset.
      layers: "all" pairs of layers, those of some layers by their names, or "penultimate" blocks only.
      metrics: Names of metrics; () for those of the study.
      vision: Group of vision models.
      language: Group of language models.
      printed: The paper's tests of its comparisons.
      claims: The paper's further claims, as `vla.report.claims.Claim`: functions from a run to outcomes.
      beside: Ids of experiments whose curves are drawn beside its shuffled ones.
      against: Draw the best pair of layers of every pair of models against the "parameters" of the language model, or
        against its "loss" where the run knows it; "" for neither.
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
    claims: tuple[Callable[..., list[Outcome]], ...] = dataclasses.field(default=(), repr=False, compare=False)
    beside: tuple[str, ...] = ()
    against: str = ""

    def __post_init__(self) -> None:
        """Fill conditions in; refuse what could not be told apart or does not exist."""
        check_choice(f"experiment {self.id!r}: against", self.against, GROWTH)
        shared = ("dataset", "layers", "vision", "language")
        filled = tuple(
            dataclasses.replace(one, **{name: getattr(one, name) or getattr(self, name) for name in shared})
            for one in self.conditions
        )
        try:
            object.__setattr__(self, "layers", read_layers(self.layers))
            filled = tuple(dataclasses.replace(condition, layers=read_layers(condition.layers)) for condition in filled)
        except ValueError as error:
            raise ValueError(f"experiment {self.id!r}: {error}") from error
        object.__setattr__(self, "conditions", filled)
        names = [one.name for one in filled]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"experiment {self.id!r} has the conditions {names}: expected one or more different names")
        for one in self.comparisons:
            unknown = [name for name in (one.higher, one.lower) if name not in names]
            if unknown:
                raise ValueError(
                    f"experiment {self.id!r}, comparison {one.name!r}: no condition {', '.join(map(repr, unknown))}; "
                    f"there are {', '.join(sorted(names))}"
                )
            if self.condition(one.higher).part != self.condition(one.lower).part:
                raise ValueError(
                    f"experiment {self.id!r}, comparison {one.name!r}: {one.higher!r} and {one.lower!r} are of "
                    "different parts, so their items may differ; give them one part"
                )

    def condition(self, name: str) -> Condition:
        """The condition of that name."""
        return next(one for one in self.conditions if one.name == name)

    @property
    def along_training(self) -> bool:
        """Whether the points of a curve are other models, as of checkpoints: such curves average nothing."""
        return over_models((one.series, one.vision, one.language) for one in self.conditions if one.series)

    def groups(self, modality: Modality) -> tuple[str, ...]:
        """Groups of models that its conditions ask for, each once."""
        return tuple(dict.fromkeys(getattr(one, modality) for one in self.conditions))


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper whose experiments a study can run.

    Attributes:
      name: As a config names it: `config.paper`.
      citation: Authors, year, title.
      experiments: Its experiments by id, from its settings; raises ValueError for a setting out of range.
      settings: Its settings with their defaults; a config has them beside `paper`.
      main_claims: From a run, as `vla.report.run_folder.RunFolder`, to what the page says in its summary.
    """

    name: str
    citation: str
    experiments: Callable[..., dict[str, Experiment]]
    settings: Mapping[str, int]
    main_claims: Callable[[Any], list[Outcome]]


def as_experiment(given: Any) -> Experiment:
    """An experiment of a config: an `Experiment`, or a dictionary of its fields with dictionaries inside.

    Raises:
      ValueError: a field that there is not, or none where one is needed; the message lists the fields.
    """
    if isinstance(given, Experiment):
        return given
    fields = _fields(given, Experiment, "an experiment")
    conditions = _several(fields.get("conditions", ()), Condition, f"a condition of {fields.get('id')!r}")
    comparisons = _several(fields.get("comparisons", ()), Comparison, f"a comparison of {fields.get('id')!r}")
    metrics = tuple(fields.get("metrics", ()))
    return Experiment(**{**fields, "conditions": conditions, "comparisons": comparisons, "metrics": metrics})


def _several(values: Sequence[Any], kind: type, what: str) -> tuple[Any, ...]:
    return tuple(value if isinstance(value, kind) else kind(**_fields(value, kind, what)) for value in values)


def _fields(given: Any, kind: type, what: str) -> dict[str, Any]:
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(kind)}
    fields = dict(given)
    unknown = sorted(set(fields) - set(known))
    missing = [name for name, needed in known.items() if needed and name not in fields]
    if unknown or missing:
        raise ValueError(f"{what}: unknown {unknown}, missing {missing}; it has the fields {', '.join(known)}")
    if isinstance(fields.get("layers"), list):
        fields["layers"] = tuple(fields["layers"])
    return fields


BEST, WORST = "best_by_clip", "worst_by_clip"
LENGTH = "length"

# Images that judgments have, in the words of conditions.
_IMAGES = {"preferred": {}, "non_preferred": {"source": "rejected"}}
_OWN = {"vision": ("average", "non_preferred", "preferred"), "language": ("average", BEST, LENGTH, "mismatched", WORST)}
_WHICH = ("index", "source")


@dataclasses.dataclass(frozen=True)
class Side:
    """What one modality is shown.

    Attributes:
      modality: Whose it is.
      members: Specs of single views, as `vla.experiments.gallery.Gallery.view` reads them; their activations are
        averaged item by item.
      mismatched: Whether every item is then given the row of another.
    """

    modality: Modality
    members: tuple[str, ...]
    mismatched: bool = False


def read_side(spec: Any, modality: Modality, choices: Choices) -> Side:
    """The side that a condition names.

    Args:
      spec: As `vla.stimuli.view` reads it: manipulations joined by " + ", with `source` and `index`. Beside them:
        "average:k=5" for the mean of the first k captions (human ones, then paraphrases) or synthetic images;
        "preferred" and "non_preferred" images of judgments; "best_by_clip" and "worst_by_clip" captions; "mismatched"
        captions, each of another item; "length", the number of characters, words and tokens of the first caption.
      modality: Whose side it is.
      choices: What the condition leaves open.

    Raises:
      ValueError: Something of it is not known; the message lists what is.
    """
    steps, average, mismatched, kind = [], None, False, ""
    for name, given in read_spec(spec):
        if name == "average" and set(given) <= {"k"}:
            average = _count(spec, given.get("k"))
        elif name == "mismatched" and modality == "language" and not given:
            mismatched = True
        elif name in (BEST, WORST, LENGTH) and modality == "language" and not given:
            kind = name
        elif name in _IMAGES and modality == "vision" and not given:
            steps.append((ORIGINAL, dict(_IMAGES[name])))
        else:
            steps.append((name, dict(given)))
    which = {key: given.pop(key) for _, given in steps for key in _WHICH if key in given}
    steps = [(name, {**choices.of_step(name, modality), **given}) for name, given in steps]
    steps = [step for step in steps if step != (ORIGINAL, {})]
    _check(spec, modality, steps)
    if kind and (steps or which or average):
        raise ValueError(f"{spec!r}: {kind} stands alone, or with mismatched only")
    return Side(modality, _members(modality, steps, which, average, kind, choices), mismatched)


def _members(
    modality: Modality, steps: list, which: dict[str, Any], average: int | None, kind: str, choices: Choices
) -> tuple[str, ...]:
    if kind == LENGTH:
        return (LENGTH,)
    if kind:
        return tuple(f"{kind}:place={place}" for place in range(2)) if choices.clip_groups == "median" else (kind,)
    if average is None:
        if modality == "language" and "index" not in which and choices.caption:
            which = {**which, "index": choices.caption}
        return (_spelled(steps, which),)
    if modality == "language":
        own = choices.human_captions
        places = [{"index": i} if i < own else {"source": "paraphrase", "index": i - own} for i in range(average)]
    else:
        first = int(choices.synthetic_set == "with_photograph")
        places = [{}] * first + [{"source": "synthetic", "index": i} for i in range(average - first)]
    return tuple(_spelled(steps, {**which, **place}) for place in places)


def _spelled(steps: list[tuple[str, dict[str, Any]]], which: dict[str, Any]) -> str:
    """One spelling of each view, so that a view that several conditions show is known as one."""
    which = {key: value for key, value in which.items() if str(value) not in ("0", "human", "photograph")}
    if which.get("source") == "synthetic" or which.get("source") == "paraphrase":
        which.setdefault("index", 0)
    parts = [(name, given) for name, given in steps] or [(ORIGINAL, {})]
    parts[0] = (parts[0][0], {**parts[0][1], **which})
    return " + ".join(
        name + (":" + ",".join(f"{key}={value}" for key, value in sorted(given.items())) if given else "")
        for name, given in parts
    )


def _check(spec: Any, modality: Modality, steps: list[tuple[str, dict[str, Any]]]) -> None:
    known = IMAGE_MANIPULATIONS if modality == "vision" else CAPTION_MANIPULATIONS
    own = _OWN[modality]
    for name, given in steps:
        if name not in known:
            kind = "image" if modality == "vision" else "caption"
            raise ValueError(
                f"{spec!r}: no {kind} view is called {name!r}; expected one of "
                f"{', '.join(sorted([*known, *own, ORIGINAL]))}"
            )
        read_steps({"name": name, **given}, known)


def _count(spec: Any, given: Any) -> int:
    text = str(given)
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ValueError(f"{spec!r}: average needs k, how many, such as average:k=5")
    return int(text)
