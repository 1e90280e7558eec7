"""Command line: `python -m launch.<what>`."""
