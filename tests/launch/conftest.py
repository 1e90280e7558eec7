"""One process with all imports, from which the commands of all files here are forked."""

import pytest

from tests.launch.forks import commands


@pytest.fixture(scope="session")
def command():
    """Runs a command as `python -m` does: `command(folder, "launch.reproduce", *flags)`."""
    with commands() as server:
        yield server.run
