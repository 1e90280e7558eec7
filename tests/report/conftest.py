"""The pipeline that the tests of stimuli tag with, for sheets of captions."""

from tests.stimuli.conftest import pipeline  # noqa: F401
