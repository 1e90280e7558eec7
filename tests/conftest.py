"""How programs are compiled in tests: once for a whole run, and without polish; and no test finds another's files.

A program of a test runs once or twice, so that most of its time is its compilation. XLA's own passes, which decide what
is computed and in which precision, are those of every user; what is left out is LLVM's optimisation of the code made
from them. Commands that tests start are compiled in full.
"""

import os
import shutil
import tempfile

# Shared with the workers and with the processes that tests start, which read these when they import jax. Fresh for
# every run, so that nothing depends on an earlier one.
OWN = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWN:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="vla-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import fsspec  # noqa: E402
import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_disable_most_optimizations", True)


def pytest_unconfigure() -> None:
    if OWN:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(autouse=True)
def memory_files():
    """The file system memory://, empty at the start of every test: it is one for the whole process."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return system


@pytest.fixture
def no_type_checks():
    """Annotations are not checked, as for users: the functions' own checks answer for values of wrong types."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True, scope="module")
def no_programs_of_other_files():
    """Programs in memory are let go after every file, or they would come to gigabytes; those on the disk stay."""
    yield
    jax.clear_caches()
