"""Experiments: which models see which items, and what is compared."""
