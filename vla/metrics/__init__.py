"""Similarity of two sets of activations of the same items: pure functions of arrays."""

from vla.metrics.registry import METRICS, Metric, find
from vla.metrics.ridge_settings import PROTOCOLS, RidgeSettings, find_protocol
