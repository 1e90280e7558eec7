"""Report: scores to figures and one page."""
