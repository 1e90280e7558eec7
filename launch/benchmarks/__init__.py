"""What `python -m launch.benchmark` measures, one peer comparison per file."""
