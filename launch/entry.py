"""What every launch script shares: flags, and one clear line instead of a traceback for a user's mistake."""

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

TRACEBACK = flags.DEFINE_bool("traceback", False, "Show where in the code an error arose.")


def define(default_config: str, default_workdir: str) -> tuple[flags.FlagHolder[Any], flags.FlagHolder[str]]:
    """Define `--config`, by default a file of this repository, and `--workdir`."""
    path = str(Path(__file__).parents[1] / default_config)
    with _readable():
        config = config_flags.DEFINE_config_file("config", path, "Config file; values by --config.key=value.")
    workdir = flags.DEFINE_string("workdir", default_workdir, "Where everything is written.")
    return config, workdir


def define_processes() -> Callable[[], None]:
    """Define the flags by which several processes share the work; returns what makes this one of them.

    Call it before anything else touches a device; it does nothing where no flag was given.
    """
    coordinator = flags.DEFINE_string("coordinator", "", "host:port of the first of several processes, or auto.")
    processes = flags.DEFINE_integer("processes", None, "How many processes share the work.", lower_bound=1)
    process = flags.DEFINE_integer("process", None, "The number of this process, from 0.", lower_bound=0)

    def join() -> None:
        from vla import devices

        if coordinator.value == "auto":
            devices.join()
        elif coordinator.value:
            devices.join(coordinator.value, processes.value, process.value)
        elif processes.value is not None or process.value is not None:
            raise ValueError("--processes and --process need --coordinator=host:port, the same for every process.")

    return join


def run(main: Callable[[], None]) -> None:
    """Parse flags and run `main`; a ValueError ends the program with its message and status 1, unless --traceback."""

    def guarded(argv: list[str]) -> None:
        absl_logging.set_verbosity(absl_logging.WARNING)
        # Ours are few, such as the fields of a checkpoint's config that were ignored.
        logging.getLogger("vla").setLevel(logging.INFO)
        # Tokenizers and processors are all that is wanted of transformers, which advises to install torch.
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
        if len(argv) > 1:
            raise app.UsageError(f"Not understood: {' '.join(argv[1:])}. Options begin with --.")
        try:
            main()
        except ValueError as error:
            if TRACEBACK.value:
                raise
            sys.exit(f"error: {error}")

    app.run(guarded, flags_parser=_parsed)


def _parsed(argv: list[str]) -> list[str]:
    """What is left of the arguments after the flags."""
    with _readable():
        left = flags.FLAGS(argv)
        # That a config's file is not there is said only when it is asked for something.
        if "config" in flags.FLAGS:
            config: Any = flags.FLAGS["config"].value
            config.to_dict()
        return left


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """A flag that the config does not have, and a config that cannot be read, end in one clear line."""
    try:
        yield
    except (AttributeError, KeyError, OSError, TypeError, ValueError, flags.Error) as error:
        if any(part.lstrip("-") == "traceback" for part in sys.argv):
            raise
        # Those of config flags quote the message of another error, perhaps at the end of its traceback.
        quoted = str(error).strip()
        quoted = quoted.rpartition("\n")[2] if "Traceback" in quoted else quoted
        said = " ".join(quoted.replace("\\n", " ").replace("\\'", "'").split())
        said = said[1:-1] if said[:1] in "'\"" and said[:1] == said[-1:] else said
        sys.exit(f"error: flags or config cannot be read: {said} (--traceback shows where)")


def typed(script: str, without: Sequence[str] = ()) -> str:
    """The command that runs a script with this process's flags, as a shell takes it; switches `without` left out."""
    given = [part for part in sys.argv[1:] if part.lstrip("-").partition("=")[0] not in without]
    return shlex.join(["python", "-m", f"launch.{script}", *given])


def directory(workdir: str) -> Path:
    """The working directory as an absolute path."""
    return Path(workdir).expanduser().absolute()
