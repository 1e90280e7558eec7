"""Where the real models and photographs lie, for the tests that need them."""

import os
from pathlib import Path

import pytest


def real_data(*parts: str) -> Path:
    """A path below VLA_TEST_DATA; skips the test where the variable is unset or the path is absent."""
    root = os.environ.get("VLA_TEST_DATA")
    if root is None:
        pytest.skip("VLA_TEST_DATA is not set: this test needs real models and photographs")
    path = Path(root, *parts)
    if not path.exists():
        pytest.skip(f"this test needs {path}")
    return path
