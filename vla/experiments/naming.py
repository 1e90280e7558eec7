"""What models are called: by their source, or as a study says."""

import os
from typing import Any


def named(given: str) -> tuple[str, str]:
    """Name and source of "name=source", or of a source alone, such as a folder in whose name there is an "="."""
    name, sign, source = given.partition("=")
    if sign and name and "/" not in name and not os.path.exists(given):
        return name, source
    return os.path.basename(os.path.abspath(given)), given


def trunk(name: str) -> str:
    """The model of which another one, named "model@step", is a checkpoint after so many steps; else the name itself."""
    return name.partition("@")[0]


def field_names(names: Any) -> tuple[str, ...]:
    """Names of fields, given as names or as one string with commas, as the command line gives `a,b`.

    Raises:
      ValueError: Something that is no name.
    """
    several = (names,) if isinstance(names, str) else tuple(names)
    if not all(isinstance(name, str) for name in several):
        raise ValueError(f"ignore_fields={names!r}; expected names of fields, such as auto_map")
    return tuple(part.strip() for name in several for part in name.split(",") if part.strip())
