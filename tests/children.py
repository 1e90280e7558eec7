"""Programs in processes of their own, each a fork of one that has paid for the imports."""

import faulthandler
import multiprocessing
import os
import sys
import tempfile
from multiprocessing.connection import Connection
from typing import Any, Self

import jax

# Seconds after which a program that hangs says where it stands, and ends.
DEADLINE = 600

_CONTEXT = multiprocessing.get_context("forkserver")
# What programs import, none of which touches a device before the fork. tests.activations.tiny brings torch.
_CONTEXT.set_forkserver_preload(["vla.activations.extract", "vla.alignment.score_blocks", "tests.activations.tiny"])


class Child:
    """A program under way; leaving its block ends it.

    Attributes:
      stdout: What it says, as it comes.
    """

    def __init__(self, program: str, *arguments: object) -> None:
        """Start it.

        Args:
          program: Python, run as by `python -c`.
          arguments: Found in `sys.argv[1:]`, as text.
        """
        reader, writer = _CONTEXT.Pipe(duplex=False)
        self._errors = tempfile.NamedTemporaryFile("r")  # noqa: SIM115
        arguments = program, list(map(str, arguments)), writer, self._errors.name
        self._process = _CONTEXT.Process(target=_run, args=arguments)
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()
        self.stdout.close()
        self._errors.close()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.join()

    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def said(self) -> str:
        """All it says on its standard output until its end, which must be a good one."""
        out = self.stdout.read()
        self._process.join()
        assert self.ended() == 0, out + self.errors()
        return out

    def errors(self) -> str:
        """What it has said on its standard error."""
        self._errors.seek(0)
        return self._errors.read()


def run(program: str, *arguments: object) -> str:
    """Run a program to its end, which must be a good one; what it said on its standard output."""
    with Child(program, *arguments) as child:
        return child.said()


def _run(program: str, arguments: list[str], out: Connection, errors: str) -> None:
    os.dup2(out.fileno(), 1)
    with open(errors, "w") as file:
        os.dup2(file.fileno(), 2)
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=2)
    # The number of devices is the program's own affair.
    os.environ.pop("XLA_FLAGS", None)
    # Compiled as in the test itself, or the last digits would differ.
    jax.config.update("jax_disable_most_optimizations", True)
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
