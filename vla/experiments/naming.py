"""What models are called: by their source, or as a study says."""

import os


def named(given: str) -> tuple[str, str]:
    """Name and source of "name=source", or of a source alone, such as a folder in whose name there is an "="."""
    name, sign, source = given.partition("=")
    if sign and name and "/" not in name and not os.path.exists(given):
        return name, source
    return os.path.basename(os.path.abspath(given)), given


def trunk(name: str) -> str:
    """The model of which another one, named "model@step", is a checkpoint after so many steps; else the name itself."""
    return name.partition("@")[0]
