"""Reads which manipulations a config asks for, from lines, dicts and lists."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vla.records import Modality


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One setting of a manipulation.

    Attributes:
      default: Its value where none is given; values are of its type.
      words: What it means, with its unit.
      low: Smallest number allowed.
      high: Largest number allowed.
      choices: Words allowed; empty for numbers.
      pattern: Regular expression of further words allowed.
    """

    default: float | int | str
    words: str
    low: float | int = -math.inf
    high: float | int = math.inf
    choices: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def expected(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            return f"one of {', '.join(sorted(self.choices))}" + (", or a colour as #rrggbb" if self.pattern else "")
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        if math.isinf(self.high):
            return kind if math.isinf(self.low) else f"{kind} of at least {self.low:g}"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def read(self, given: Any) -> float | int | str:
        """The value given, perhaps as text, in the parameter's own type.

        Raises:
          ValueError: It is not allowed; the message says what is.
        """
        value = self._of_type(given)
        if value is None:
            raise ValueError(f"{given!r}; expected {self.expected}")
        return value

    def _of_type(self, given: Any) -> float | int | str | None:
        if isinstance(self.default, str):
            known = given in self.choices or (self.pattern and re.fullmatch(self.pattern, str(given)))
            return str(given) if known else None
        if isinstance(given, bool):
            return None
        try:
            number = float(given)
        except (TypeError, ValueError):
            return None
        if not (math.isfinite(number) and self.low <= number <= self.high):
            return None
        if isinstance(self.default, int):
            return int(number) if number.is_integer() else None
        return number + 0.0  # -0.0 is the same setting as 0.0


@dataclasses.dataclass(frozen=True)
class Manipulation:
    """What can be done to every image, or to every caption, by name.

    Attributes:
      name: As in specs and in names of views.
      modality: Whose stimuli it changes.
      words: What it does, in one sentence.
      apply: The pure function that does it: stimulus and parameters, by their names; `key` if seeded, `mask` if masked.
      parameters: What `apply` can be told.
      policies: Settings of a view for items to which it cannot be done.
      dose: The parameter by which it is made stronger; shown in names unless it is done in full by default.
      seeded: Whether it draws at random, by seed and item.
      masked: The mask that it needs, "things" or "stuff"; "" for none.
      moves: Whether pixels change place, so that a mask of the original no longer fits.
      tagged: Whether it takes the caption's tokens with their parts of speech instead of its words.
      version: Raised whenever the same parameters would give other pixels.
    """

    name: str
    modality: Modality
    words: str
    apply: Callable[..., Any]
    parameters: Mapping[str, Parameter] = dataclasses.field(default_factory=dict, hash=False)
    policies: Mapping[str, Parameter] = dataclasses.field(default_factory=dict, hash=False)
    dose: str = ""
    seeded: bool = False
    masked: str = ""
    moves: bool = False
    tagged: bool = False
    version: int = 1


@dataclasses.dataclass(frozen=True)
class Step:
    """A manipulation with a value for each of its parameters and policies."""

    manipulation: Manipulation
    values: tuple[tuple[str, float | int | str], ...]

    @property
    def parameters(self) -> dict[str, Any]:
        """What the manipulation's function is told."""
        return {name: value for name, value in self.values if name in self.manipulation.parameters}

    @property
    def policies(self) -> dict[str, Any]:
        """What is done with items that it cannot show."""
        return {name: value for name, value in self.values if name in self.manipulation.policies}

    @property
    def chosen(self) -> dict[str, float | int | str]:
        """The values that are not the defaults."""
        settings = {**self.manipulation.parameters, **self.manipulation.policies}
        return {name: value for name, value in self.values if value != settings[name].default}

    @property
    def label(self) -> str:
        """For names of views: the dose, and whatever else is not by default, such as "rotation-15-corners=mean"."""
        own, parts = self.manipulation, [self.manipulation.name]
        for name, value in self.parameters.items():
            spoken = f"{value:g}" if isinstance(value, float) else str(value)
            default = own.parameters[name].default
            if name == own.dose and not value == default == own.parameters[name].high:
                parts.insert(1, spoken)
            elif value != default:
                parts.append(f"{name}={spoken}")
        return "-".join(parts)

    def determines(self) -> dict[str, Any]:
        """JSON of everything that this step adds to what a model will see, chance apart."""
        return {"name": self.manipulation.name, "version": self.manipulation.version, **self.parameters}


# Whatever a config gives; `read_steps` says what it accepts and refuses the rest.
Spec = object

ORIGINAL = "original"

# "rotation:angle=15,corners=mean + blur" and not the plus of 1e+3.
_JOINED = re.compile(r"\+(?=\s*[A-Za-z_])")


def read_steps(spec: Spec, known: Mapping[str, Manipulation], **parameters: Any) -> tuple[Step, ...]:
    """The manipulations that a spec names, in the order in which they are done.

    Args:
      spec: None or "original" for none; a name; a line such as "rotation:angle=15,corners=mean" or
        "grayscale + rotation"; a dict such as {"name": "rotation", "angle": 15}; steps; or a list of these.
      known: The manipulations by name.
      **parameters: Parameters of the manipulation, if the spec names just one.

    Raises:
      ValueError: An unknown name or parameter, or a value that is not allowed; the message lists what is.
    """
    if isinstance(spec, Step) and not parameters:
        return (spec,)
    wanted = [(name, given) for name, given in read_spec(spec) if name != ORIGINAL or given]
    if parameters:
        if len(wanted) != 1:
            raise ValueError(
                f"The parameters {', '.join(sorted(parameters))} are given beside {spec!r}, which names {len(wanted)} "
                "manipulations; give them with the one that they belong to, such as 'rotation:angle=15'"
            )
        wanted = [(wanted[0][0], {**wanted[0][1], **parameters})]
    return tuple(_step(name, given, known) for name, given in wanted)


def read_spec(spec: Spec) -> list[tuple[str, dict[str, Any]]]:
    """Names with the parameters given to them, not yet checked, of a spec as of `read_steps`.

    Raises:
      ValueError: It is nothing of the kind.
    """
    if spec is None:
        return []
    if isinstance(spec, Step):
        return [(spec.manipulation.name, dict(spec.values))]
    if isinstance(spec, str):
        return [_read_line(part.strip(), spec) for part in _JOINED.split(spec)]
    if isinstance(spec, Mapping):
        given = dict(spec)
        name = given.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"{spec!r} names no manipulation; expected such as {{'name': 'rotation', 'angle': 15}}")
        return [(name, given)]
    if isinstance(spec, Sequence) and not isinstance(spec, bytes):
        return [found for part in spec for found in read_spec(part)]
    raise ValueError(
        f"{spec!r} is a {type(spec).__name__}; expected a manipulation's name, a line such as 'rotation:angle=15', a "
        "dict, or a list of these"
    )


def _read_line(line: str, spec: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = line.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair.strip()]
    if not name.strip() or any(not sign or not key.strip() for key, sign, _ in pairs):
        raise ValueError(
            f"{spec!r} is not understood; expected such as 'rotation:angle=15,corners=mean' or 'grayscale'"
        )
    given = {key.strip(): value.strip() for key, _, value in pairs}
    if len(given) < len(pairs):
        raise ValueError(f"{spec!r} gives a parameter twice")
    return name.strip(), given


def _step(name: str, given: Mapping[str, Any], known: Mapping[str, Manipulation]) -> Step:
    if name == ORIGINAL:
        raise ValueError(f"{ORIGINAL} has no parameters, but {', '.join(sorted(given))} is given")
    if name not in known:
        modality = next(iter(known.values())).modality
        kind = "image" if modality == "vision" else "caption"
        raise ValueError(
            f"No {kind} manipulation is called {name!r}; expected one of {', '.join(sorted([*known, ORIGINAL]))}"
        )
    own = known[name]
    settings = {**own.parameters, **own.policies}
    unknown = sorted(set(given) - set(settings))
    if unknown:
        alternatives = f"one of {', '.join(sorted(settings))}" if settings else "none"
        raise ValueError(f"{name} has no parameter {', '.join(map(repr, unknown))}; expected {alternatives}")
    values = {setting: parameter.default for setting, parameter in settings.items()}
    for setting, value in given.items():
        try:
            values[setting] = settings[setting].read(value)
        except ValueError as error:
            raise ValueError(f"{name}: {setting}={error}") from error
    return Step(own, tuple(values.items()))
