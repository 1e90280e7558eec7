"""Manipulations with their settings, and the specs by which configs name them: lines, dicts and lists."""

import contextlib
import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from vla.records import Modality

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One setting of a manipulation.

    Attributes:
      default: The default; all values are of its type.
      description: Its meaning, with its unit.
      low: Smallest number allowed.
      high: Largest number allowed.
      choices: Words allowed; empty for numbers.
      pattern: Regular expression of further words allowed.
    """

    default: float | int | str
    description: str
    low: float | int = -math.inf
    high: float | int = math.inf
    choices: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def expected(self) -> str:
        """The values that are allowed, for messages."""
        if self.choices:
            return f"one of {', '.join(sorted(self.choices))}" + (", or a colour as #rrggbb" if self.pattern else "")
        number = "a whole number" if isinstance(self.default, int) else "a number"
        if math.isinf(self.high):
            return number if math.isinf(self.low) else f"{number} of at least {self.low:g}"
        return f"{number} from {self.low:g} to {self.high:g}"

    def read(self, value: object) -> float | int | str:
        """The value, which may be text, in the parameter's own type; a ValueError says what is allowed."""
        if isinstance(self.default, str):
            if value in self.choices or (self.pattern and re.fullmatch(self.pattern, str(value))):
                return str(value)
        elif not isinstance(value, bool):
            with contextlib.suppress(TypeError, ValueError):
                number = float(value)  # pyright: ignore[reportArgumentType]
                if math.isfinite(number) and self.low <= number <= self.high:
                    if not isinstance(self.default, int):
                        return number + 0.0  # -0.0 is the same setting as 0.0
                    if number.is_integer():
                        return int(number)
        raise ValueError(f"{value!r}; expected {self.expected}")


def choice(description: str, *choices: str) -> Parameter:
    """A parameter that is one of several words, by default the first."""
    return Parameter(choices[0], description, choices=choices)


@dataclasses.dataclass(frozen=True)
class Manipulation:
    """A change that can be applied to every image, or to every caption.

    Attributes:
      name: As in specs and in names of views.
      modality: "vision" or "language".
      description: The change, in one sentence.
      apply: The pure function that applies it to a stimulus, with the parameters by name; `key` if seeded, `mask` if
        masked.
      parameters: The parameters of `apply`.
      policies: Settings of a view for items to which it cannot be applied.
      dose: The parameter that makes it stronger; shown in names unless its default is its largest value.
      seeded: Whether it draws at random, by seed and item.
      masked: The mask that it needs, "things" or "stuff"; "" for none.
      moves: Whether pixels move, so that a mask of the original no longer fits.
      tagged: Whether it takes the caption's tokens with their parts of speech instead of its words.
      version: Raised whenever the same parameters would give other pixels.
    """

    name: str
    modality: Modality
    description: str
    apply: Callable[..., Any]
    parameters: Mapping[str, Parameter] = dataclasses.field(default_factory=dict, hash=False)
    policies: Mapping[str, Parameter] = dataclasses.field(default_factory=dict, hash=False)
    dose: str = ""
    seeded: bool = False
    masked: str = ""
    moves: bool = False
    tagged: bool = False
    version: int = 1


def enter(
    catalogue: dict[str, Manipulation],
    modality: Modality,
    description: str,
    parameters: Mapping[str, Parameter] | None = None,
    policies: Mapping[str, Parameter] | None = None,
    *,
    name: str = "",
    **options: Any,
) -> Callable[[Function], Function]:
    """A decorator that enters a function as a manipulation; by default under its name, seeded if it takes a `key`."""

    def decorated(function: Function) -> Function:
        key = name or function.__name__
        seeded = "key" in inspect.signature(function).parameters
        settings = (parameters or {}, policies or {})
        catalogue[key] = Manipulation(key, modality, description, function, *settings, seeded=seeded, **options)
        return function

    return decorated


@dataclasses.dataclass(frozen=True)
class Step:
    """A manipulation with a value for each of its parameters and policies."""

    manipulation: Manipulation
    values: tuple[tuple[str, float | int | str], ...]

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the parameters."""
        return {name: value for name, value in self.values if name in self.manipulation.parameters}

    @property
    def policies(self) -> dict[str, Any]:
        """The values of the policies."""
        return {name: value for name, value in self.values if name in self.manipulation.policies}

    @property
    def chosen(self) -> dict[str, float | int | str]:
        """The values that are not the defaults."""
        settings = {**self.manipulation.parameters, **self.manipulation.policies}
        return {name: value for name, value in self.values if value != settings[name].default}

    @property
    def label(self) -> str:
        """For names of views: the dose and all values that are not the default, such as "rotation-15-corners=mean"."""
        parts = [self.manipulation.name]
        for name, value in self.parameters.items():
            text = f"{value:g}" if isinstance(value, float) else str(value)
            parameter = self.manipulation.parameters[name]
            if name == self.manipulation.dose and not value == parameter.default == parameter.high:
                parts.insert(1, text)
            elif value != parameter.default:
                parts.append(f"{name}={text}")
        return "-".join(parts)

    def determines(self) -> dict[str, Any]:
        """JSON of everything that determines the pixels or words, except random draws."""
        return {"name": self.manipulation.name, "version": self.manipulation.version, **self.parameters}


# Any value of a config; `read_steps` documents what it accepts, and refuses the rest.
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
    named = [(name, values) for name, values in read_spec(spec) if name != ORIGINAL or values]
    if parameters:
        if len(named) != 1:
            raise ValueError(
                f"The parameters {', '.join(sorted(parameters))} are given beside {spec!r}, which names {len(named)} "
                "manipulations; give them with the one that they belong to, such as 'rotation:angle=15'"
            )
        named = [(named[0][0], {**named[0][1], **parameters})]
    return tuple(_step(name, values, known) for name, values in named)


def read_spec(spec: Spec) -> list[tuple[str, dict[str, Any]]]:
    """Names with their parameters, not yet checked, of a spec as of `read_steps`; a ValueError if it is no spec."""
    if spec is None:
        return []
    if isinstance(spec, Step):
        return [(spec.manipulation.name, dict(spec.values))]
    if isinstance(spec, str):
        return [_read_line(part.strip(), spec) for part in _JOINED.split(spec)]
    if isinstance(spec, Mapping):
        values = dict(spec)
        name = values.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"{spec!r} names no manipulation; expected such as {{'name': 'rotation', 'angle': 15}}")
        return [(name, values)]
    if isinstance(spec, Sequence) and not isinstance(spec, bytes):
        return [pair for part in spec for pair in read_spec(part)]
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
    values = {key.strip(): value.strip() for key, _, value in pairs}
    if len(values) < len(pairs):
        raise ValueError(f"{spec!r} gives a parameter twice")
    return name.strip(), values


def _step(name: str, values: Mapping[str, Any], known: Mapping[str, Manipulation]) -> Step:
    if name == ORIGINAL:
        raise ValueError(f"{ORIGINAL} has no parameters, but {', '.join(sorted(values))} is given")
    if name not in known:
        stimulus = "image" if next(iter(known.values())).modality == "vision" else "caption"
        raise ValueError(
            f"No {stimulus} manipulation is called {name!r}; expected one of {', '.join(sorted([*known, ORIGINAL]))}"
        )
    settings = {**known[name].parameters, **known[name].policies}
    unknown = sorted(set(values) - set(settings))
    if unknown:
        alternatives = f"one of {', '.join(sorted(settings))}" if settings else "none"
        raise ValueError(f"{name} has no parameter {', '.join(map(repr, unknown))}; expected {alternatives}")
    read = {setting: parameter.default for setting, parameter in settings.items()}
    for setting, value in values.items():
        try:
            read[setting] = settings[setting].read(value)
        except ValueError as error:
            raise ValueError(f"{name}: {setting}={error}") from error
    return Step(known[name], tuple(read.items()))
