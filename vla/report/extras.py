"""Sections of analyses beyond the paper that not every run has."""

from typing import Any

from vla.report.run_folder import RunFolder


def extra_sections(run: RunFolder) -> list[dict[str, Any]]:
    """What the template shows of them, each with the figures that are to be drawn as `planned`."""
    return []
