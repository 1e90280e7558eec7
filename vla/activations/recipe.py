"""What determines a set of activations, hashed to the key under which the store keeps it."""

import dataclasses
import functools
import re
from typing import Any

from vla.records import canonical_hash

# File systems take names of 255 bytes; the key and the endings need some of them.
_LONGEST_WORDS = 160


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a set of activations, and what they are called.

    Attributes:
      determines: JSON values; two recipes with equal ones, equal layers and equal items have equal activations.
      words: Further JSON values for readers, `model` and `view` among them; they do not enter the key.
      layers: Layer names in order.
      items: Item ids in order.
      width: Units per layer.
      model_layers: All layers of the model, where `layers` are only some of them; does not enter the key.
    """

    determines: dict[str, Any]
    words: dict[str, Any]
    layers: tuple[str, ...]
    items: tuple[str, ...]
    width: int
    model_layers: tuple[str, ...] = ()

    @property
    def all_layers(self) -> "Recipe | None":
        """The recipe of all layers of the model, of which this one is a part; None where it has all of them."""
        if not self.model_layers or self.model_layers == self.layers:
            return None
        return dataclasses.replace(self, layers=self.model_layers)

    @functools.cached_property
    def key(self) -> str:
        """Content key: SHA-256 of what determines the activations, layers and items included."""
        return canonical_hash({**self.determines, "layers": self.layers, "items": self.items})

    @functools.cached_property
    def name(self) -> str:
        """Folder name: model and view for people, the first 16 digits of the key for uniqueness."""
        spoken = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{self.words['model']}--{self.words['view']}")
        return f"{spoken[:_LONGEST_WORDS]}--{self.key[:16]}"
