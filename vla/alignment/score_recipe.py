"""What determines a table of scores, hashed to the key under which the score store keeps it."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

from vla.alignment.task import Task, make_tasks
from vla.records import canonical_hash

# Raised whenever some score would come out otherwise, so that stored ones are computed anew.
NUMERICS_VERSION = 7

# File systems take names of 255 bytes; the key and the endings need some of them.
_LONGEST_WORDS = 160


@dataclasses.dataclass(frozen=True)
class ScoreRecipe:
    """Everything that determines a table of scores, and what it is called.

    Attributes:
      keys: Of the predictor's activations and of the target's: whatever determines the arrays.
      task: What is asked.
      words: For readers; they do not enter the key.
    """

    keys: tuple[str, str]
    task: Task
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def key(self) -> str:
        """Content key: SHA-256 of the two sets of activations, what is asked, and the version of the numerics."""
        return canonical_hash({"keys": list(self.keys), "numerics_version": NUMERICS_VERSION, **self.task.determines()})

    @functools.cached_property
    def name(self) -> str:
        """Folder name: words for people, the first 16 digits of the key for uniqueness."""
        spoken = "--".join([*self.words.values(), self.task.metric.name])
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', spoken)[:_LONGEST_WORDS]}--{self.key[:16]}"


def score_recipe(
    keys: Any,
    metric: str = "linear_predictivity",
    protocol: str = "paper",
    seed: int = 42,
    null: int = 0,
    bootstrap: int = 0,
    halves: int = 0,
    confidence: float = 0.95,
    words: Mapping[str, str] | None = None,
    **overrides: Any,
) -> ScoreRecipe:
    """The recipe of `vla.score` with the same arguments on stored activations.

    Args:
      keys: Of x and of y, such as `vla.activations.recipe.Recipe.key`; where items were chosen, reordered or averaged
        since, a hash that says so.
      metric: As `vla.score`.
      protocol: As `vla.score`.
      seed: As `vla.score`.
      null: As `vla.score`.
      bootstrap: As `vla.score`.
      halves: As `vla.score`.
      confidence: As `vla.score`.
      words: What the two sides are called, for names and attributes.
      **overrides: As `vla.score`; groups as a list in the order of the items of x, or "duplicates".

    Raises:
      ValueError: As `vla.score`; keys that are no texts.
    """
    keys = keys if isinstance(keys, str) else tuple(keys)
    if isinstance(keys, str) or len(keys) != 2 or not all(isinstance(key, str) and key for key in keys):
        raise ValueError(f"keys={keys!r}: expected two texts, the key of x and the key of y.")
    (task,) = make_tasks([metric], protocol, seed, null, overrides, bootstrap, halves, confidence)
    return ScoreRecipe((keys[0], keys[1]), task, dict(words or {}))
