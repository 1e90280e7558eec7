"""Runs commands as `python -m` does, each in a fork of one process that has paid for the imports.

Reads one JSON object a line from standard input, {"where": folder, "module": name, "arguments": [...],
"environment": {...}}, and answers
with one, {"code": exit status, "out": standard output, "err": standard error}.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.children import DEADLINE

ROOT = Path(__file__).parents[2]
# What commands import, without anything that touches a device before the fork.
IMPORTED = ("vla.experiments.engine", "vla.report.write", "transformers")


class Commands:
    """The process that forks, as its user sees it."""

    def __init__(self) -> None:
        """Start it; the imports are under way when this returns."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.launch.forks"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(
        self, where: Path, module: str, *arguments: str, succeeds: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command in a folder; its exit status must be as expected."""
        assert self._process.stdin and self._process.stdout
        asked = {"where": str(where), "module": module, "arguments": arguments, "environment": environment}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        found = json.loads(self._process.stdout.readline())
        assert (found["code"] == 0) is succeeds, found["out"] + found["err"]
        return subprocess.CompletedProcess([module, *arguments], found["code"], found["out"], found["err"])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


@contextlib.contextmanager
def commands() -> Iterator[Commands]:
    """The process, for as long as the block runs."""
    found = Commands()
    try:
        yield found
    finally:
        found.close()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with warnings.catch_warnings():
            # JAX warns of forks because of threads, which it has none of before it touches a device.
            warnings.simplefilter("ignore", RuntimeWarning)
            child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_run(asked))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"code": code, "out": out.read(), "err": err.read()}


def _run(asked: dict[str, Any]) -> int:
    """The command; the exit status as Python gives it."""
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=2)
    os.chdir(asked["where"])
    os.environ |= asked["environment"]
    sys.argv[1:] = asked["arguments"]
    try:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
        code = stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)
