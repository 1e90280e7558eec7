"""Flags of all launch scripts, and one clear line instead of a traceback for a mistake of the user."""

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

TRACEBACK = flags.DEFINE_bool("traceback", False, "Show where in the code an error arose.")


def define(default_config: str, default_workdir: str) -> tuple[flags.FlagHolder[Any], flags.FlagHolder[str]]:
    """Define `--config`, by default a file of this repository, and `--workdir`."""
    path = str(Path(__file__).parents[1] / default_config)
    with _readable():
        config = config_flags.DEFINE_config_file("config", path, "Config file; values by --config.key=value.")
    workdir = flags.DEFINE_string("workdir", default_workdir, "Folder of everything that is written.")
    return config, workdir


def define_processes() -> Callable[[], None]:
    """Define the flags with which several processes share the work; returns a function that joins them.

    Call that function before anything else uses a device; without these flags it does nothing.
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
        # The library logs little, such as fields of a config that were ignored.
        logging.getLogger("vla").setLevel(logging.INFO)
        # transformers is used for tokenizers and processors only, yet advises to install torch.
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
        if len(argv) > 1:
            raise app.UsageError(f"Not understood: {' '.join(argv[1:])}. Options begin with --.")
        try:
            main()
        except ValueError as error:
            if TRACEBACK.value:
                raise
            remedy = remedy_flags(getattr(error, "remedy", {}))
            sys.exit(f"error: {error}" + (f" (on the command line: {remedy})" if remedy else ""))

    app.run(guarded, flags_parser=_parsed)


def remedy_flags(remedy: Mapping[str, Any] | str) -> str:
    """The flags of this command for the remedy of an error; "" if its config has no such setting.

    Args:
      remedy: As of `vla.checks.RemediableError`; text is flags already.
    """
    if isinstance(remedy, str) or "config" not in flags.FLAGS:
        return ""
    config: Any = flags.FLAGS["config"].value
    groups = {"": config} | {f"{name}.": value for name, value in config.items() if isinstance(value, ConfigDict)}
    return " ".join(
        f"--config.{prefix}{name}={value}"
        for name, value in remedy.items()
        for prefix, group in groups.items()
        if name in group
    )


def _parsed(argv: list[str]) -> list[str]:
    """The arguments that are not flags."""
    with _readable():
        left = flags.FLAGS(argv)
        # A missing config file is only reported when a value is read.
        if "config" in flags.FLAGS:
            config: Any = flags.FLAGS["config"].value
            config.to_dict()
        return left


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Report an unknown flag or an unreadable config in one clear line."""
    try:
        yield
    except (AttributeError, KeyError, OSError, TypeError, ValueError, flags.Error) as error:
        if any(part.lstrip("-") == "traceback" for part in sys.argv):
            raise
        # Errors of config flags quote the message of another error, perhaps at the end of its traceback.
        quoted = str(error).strip()
        quoted = quoted.rpartition("\n")[2] if "Traceback" in quoted else quoted
        message = " ".join(quoted.replace("\\n", " ").replace("\\'", "'").split())
        message = message[1:-1] if message[:1] in "'\"" and message[:1] == message[-1:] else message
        sys.exit(f"error: flags or config cannot be read: {message} (--traceback shows where)")


def typed(script: str, without: Sequence[str] = ()) -> str:
    """The command that runs a script with the flags of this process, without the switches `without`, for a shell."""
    words = [part for part in sys.argv[1:] if part.lstrip("-").partition("=")[0] not in without]
    return shlex.join(["python", "-m", f"launch.{script}", *words])


def directory(workdir: str) -> Path:
    """The working directory as an absolute path."""
    return Path(workdir).expanduser().absolute()
