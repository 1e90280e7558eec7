"""Fetches what is published, verified and unpacked inside its folder."""

from vla.stimuli.downloads.archive import extract
from vla.stimuli.downloads.download import fetch
