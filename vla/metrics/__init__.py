"""Similarity of two sets of activations of the same items: pure functions of arrays."""

from vla.metrics.metric import Metric
from vla.metrics.pairs import PairMetric
from vla.metrics.registry import METRICS, best, best_index, find, sign
from vla.metrics.ridge_settings import PROTOCOLS, RidgeSettings, find_protocol
from vla.metrics.ridge_streamed import streamed_predictivity
