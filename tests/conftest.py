"""One cache of compiled programs for a whole run of the tests: its workers and the processes that tests start."""

import os
import shutil
import tempfile

# A child reads these when it imports jax. Fresh for every run, so that nothing depends on an earlier one.
OWN = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWN:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="vla-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def pytest_unconfigure() -> None:
    if OWN:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
