"""Reads which manipulations a config asks for, from lines, dicts and lists."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vla.stimuli.manipulation import Manipulation, Step

ORIGINAL = "original"

# "rotation:angle=15,corners=mean + blur" and not the plus of 1e+3.
_JOINED = re.compile(r"\+(?=\s*[A-Za-z_])")


def read_steps(spec: Any, known: Mapping[str, Manipulation], **parameters: Any) -> tuple[Step, ...]:
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


def read_spec(spec: Any) -> list[tuple[str, dict[str, Any]]]:
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
