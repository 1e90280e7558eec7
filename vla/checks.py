"""Checks of settings. Each raises a ValueError that names the setting, its value and what is accepted."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

# A whole number for static checkers. At run time anything: `check_whole_number` refuses it by the name of the setting.
if TYPE_CHECKING:
    WholeNumber = int
else:
    WholeNumber = object


class RemediableError(ValueError):
    """An error that a setting can avoid.

    Attributes:
      remedy: The value to set by argument of the function that raised it, such as {"missing_images": "drop"}.
    """

    def __init__(self, message: str, remedy: Mapping[str, Any]) -> None:
        """The message and the remedy."""
        super().__init__(message)
        self.remedy = dict(remedy)


def check_whole_number(
    name: str, value: Any, least: int = 1, most: int | None = None, *, other: Sequence[object] = ()
) -> None:
    """Refuse what is not a whole number from `least` to `most` (None for no upper limit).

    True and False are no numbers here. Integers of NumPy are.

    Args:
      name: The setting as the user types it.
      value: Its value.
      least: Smallest value.
      most: Largest value.
      other: Further values that are accepted, such as None or "all".

    Raises:
      ValueError: It is something else.
    """
    if _is_one_of(value, other):
        return
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or int(value) < least or (most is not None and int(value) > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        _refuse(name, value, " or ".join([f"a whole number {limits}", *map(repr, other)]))


def check_number(
    name: str,
    value: Any,
    *,
    least: int | float = -math.inf,
    most: int | float = math.inf,
    above: int | float = -math.inf,
    below: int | float = math.inf,
    other: Sequence[object] = (),
) -> None:
    """Refuse what is not a finite number; `above` and `below` themselves are refused too, `other` is as above.

    Raises:
      ValueError: It is something else.
    """
    if _is_one_of(value, other):
        return
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not (math.isfinite(value) and least <= value <= most and above < value < below):
        limits = [(">=", least), (">", above), ("<=", most), ("<", below)]
        text = " and ".join(f"{sign} {limit}" for sign, limit in limits if math.isfinite(limit))
        _refuse(name, value, " or ".join([f"a number {text}" if text else "a finite number", *map(repr, other)]))


def check_choice(name: str, value: Any, choices: Iterable[object]) -> None:
    """Refuse what is not one of the choices.

    Raises:
      ValueError: It is something else; the message lists the choices in alphabetical order.
    """
    allowed = list(choices)
    if not _is_one_of(value, allowed):
        _refuse(name, value, f"one of {', '.join(sorted(map(str, allowed)))}")


def check_names(what: str, names: Iterable[str], known: Iterable[str], noun: str = "setting") -> None:
    """Refuse names that are not known.

    Args:
      what: What should have them: "data" gives "data has no setting a; it has b, c".
      names: The names to check.
      known: The names that exist.
      noun: What they are names of.

    Raises:
      ValueError: Some are not known; the message lists those that are.
    """
    alternatives = sorted(known)
    unknown = sorted(set(names) - set(alternatives))
    if unknown:
        raise ValueError(f"{what} has no {noun} {', '.join(unknown)}; it has {', '.join(alternatives) or 'none'}")


# What to do with items that lack something.
POLICIES = ("drop", "refuse")


def refuse_absent(setting: str, policy: str, absent: Sequence[str], what: str, remedy: str) -> None:
    """Refuse items that lack something, unless the user chose to drop them.

    Args:
      setting: The setting that the user chooses by, such as "missing_images".
      policy: Its value.
      absent: Names of the items; none if nothing is missing.
      what: What is wrong, in words that follow the number of items.
      remedy: What to do instead of dropping them.

    Raises:
      RemediableError: There are such items and the policy is "refuse".
    """
    if absent and policy == "refuse":
        raise RemediableError(
            f'{len(absent)} {what}: {listed(absent)}. {remedy}, or pass {setting}="drop" to leave them out '
            "(their ids are kept in the dataset's `dropped`)",
            {setting: "drop"},
        )


def refuse_listed(names: Sequence[str], fault: str, remedy: str) -> None:
    """Refuse things by their names, if there are any: `fault: a, b (and 7 more). remedy`.

    Raises:
      ValueError: There are such things.
    """
    if names:
        raise ValueError(f"{fault}: {listed(names)}. {remedy}")


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few names and how many more there are, for messages: `a, b, c (and 7 more)`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} (and {len(names) - most} more)"


def _is_one_of(value: Any, allowed: Iterable[object]) -> bool:
    # Arrays compare by element, and 1 equals True without being what messages list.
    return any(
        isinstance(value, type(one)) and isinstance(value, bool) == isinstance(one, bool) and value == one
        for one in allowed
    )


def _refuse(name: str, value: object, expected: str) -> None:
    raise ValueError(f"{name}={value!r}; expected {expected}")
