"""What the tests of stimuli share: a small pipeline that tags parts of speech."""

from pathlib import Path

import pytest

from tests.stimuli.pipelines import write_tagger


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory) -> Path:
    """Folder of a trained pipeline."""
    return write_tagger(tmp_path_factory.mktemp("pipeline") / "tiny_tagger")
