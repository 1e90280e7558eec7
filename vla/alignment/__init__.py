"""Alignment: activations and a metric to scores of all layer pairs."""
