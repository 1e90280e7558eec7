"""Reads published datasets, each in the format its publishers chose."""
