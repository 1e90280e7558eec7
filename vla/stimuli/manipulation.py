"""A named manipulation of images or captions whose parameters have defaults, ranges and words."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
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
    parameters: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)
    policies: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)
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
