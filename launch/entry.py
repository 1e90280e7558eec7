"""What every launch script shares: flags, and one clear line instead of a traceback for a user's mistake."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

TRACEBACK = flags.DEFINE_bool("traceback", False, "Show where in the code an error arose.")


def define(default_config: str, default_workdir: str) -> tuple[flags.FlagHolder[Any], flags.FlagHolder[str]]:
    """Define `--config`, by default a file of this repository, and `--workdir`."""
    path = str(Path(__file__).parents[1] / default_config)
    config = config_flags.DEFINE_config_file("config", path, "Config file; values by --config.key=value.")
    workdir = flags.DEFINE_string("workdir", default_workdir, "Where everything is written.")
    return config, workdir


def run(main: Callable[[], None]) -> None:
    """Parse flags and run `main`; a ValueError ends the program with its message and status 1, unless --traceback."""

    def guarded(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)
        if len(argv) > 1:
            raise app.UsageError(f"Not understood: {' '.join(argv[1:])}. Options begin with --.")
        try:
            main()
        except ValueError as error:
            if TRACEBACK.value:
                raise
            sys.exit(f"error: {error}")

    app.run(guarded)


def directory(workdir: str) -> Path:
    """The working directory as an absolute path."""
    return Path(workdir).expanduser().absolute()
