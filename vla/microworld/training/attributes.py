"""Training on scene attributes: stuff, weather, things, colours, count; never text.

Axes: B batch, D width, O outputs of the classifier.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from vla.microworld.training.architectures import D, write_description
from vla.microworld.training.augmentation import jittered
from vla.microworld.training.material import ATTRIBUTES, Material
from vla.microworld.training.networks import class_token, pixels_of, untrained
from vla.microworld.training.probes import vision_findings
from vla.microworld.training.saving import save_tensors, tensors_of
from vla.microworld.training.settings import Settings
from vla.microworld.training.task import Tree

LABELS = tuple(f"{group}: {name}" for group, names in ATTRIBUTES.items() for name in names)
# One of these is true of a scene; of the others, any number.
EXCLUSIVE = ("stuff", "weather", "count")


class Attributes:
    """A ViT whose class token tells the attributes of a scene."""

    def __init__(self, settings: Settings, seen: Material, unseen: Material, scratch: Path) -> None:
        """Lay out the model in `scratch`."""
        self.settings, self.seen, self.unseen = settings, seen, unseen
        self.scratch = scratch
        write_description(scratch, settings.model, labels=LABELS)
        self.graph, _ = nnx.split(untrained(scratch, settings.seed))
        self.targets = attribute_targets(seen)
        self.frequent = frequency_logits(self.targets.mean(0))
        pictures, targets = pixels_of(unseen.pictures), attribute_targets(unseen)
        guess = attribute_parts(self.frequent, jnp.asarray(targets))
        self.constant = {name: float(value) for name, value in guess.items()}
        self.constant["loss"] = sum(self.constant.values())
        self.held_out = [
            (pictures[i : i + settings.batch], targets[i : i + settings.batch])
            for i in range(0, len(pictures), settings.batch)
        ]

    def fresh(self) -> Tree:
        """The network, and a classifier that holds every attribute as likely as it is frequent."""
        head = {"weight": jnp.zeros((len(LABELS), D)), "bias": jnp.copy(self.frequent[0])}
        return {"network": nnx.split(untrained(self.scratch, self.settings.seed))[1], "head": head}

    def fresh_memory(self, parameters: Tree) -> Tree:
        """Nothing."""
        return {}

    def batch(self, rng: np.random.Generator) -> Tree:
        """Pictures, jittered, and their attributes."""
        rows = np.sort(rng.choice(len(self.targets), self.settings.batch, replace=len(self.targets) < 1000))
        return pixels_of(jittered(self.seen.pictures[rows], rng)), self.targets[rows]

    def loss(self, parameters: Tree, memory: Tree, batch: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """Cross-entropies in nats: of each group of attributes, summed over its attributes, and of all."""
        network: Any = nnx.merge(self.graph, parameters["network"])
        pixels, targets = batch
        cls = class_token(network, network.embedding(pixels))
        parts = attribute_parts(cls @ parameters["head"]["weight"].T + parameters["head"]["bias"], targets)
        loss = sum(parts.values(), jnp.zeros(()))
        return loss, (parts, {})

    def remember(self, memory: Tree, parameters: Tree, seen: Tree, progress: Array) -> Tree:
        """Nothing."""
        return {}

    def write(self, folder: Path, parameters: Tree) -> None:
        """ViTForImageClassification, whose labels are the attributes."""
        write_description(folder, self.settings.model, labels=LABELS)
        tensors = tensors_of(nnx.merge(self.graph, parameters["network"]), "vit")
        tensors |= {f"classifier.{name}": np.asarray(value) for name, value in parameters["head"].items()}
        save_tensors(folder, tensors)

    def findings(self, before: Tree, after: Tree) -> dict[str, Any]:
        """How well attributes of unseen scenes are read from the class token."""
        return vision_findings(self.graph, before["network"], after["network"], self.seen, self.unseen)


def attribute_targets(material: Material) -> np.ndarray:
    """Attributes of each scene as zeros and ones [N, O], in the order of LABELS."""
    return np.concatenate([material.labels[name] for name in ATTRIBUTES], axis=1).astype(np.float32)


def frequency_logits(frequencies: np.ndarray) -> Array:
    """What a classifier says that knows only how frequent each attribute is."""
    clipped = np.clip(frequencies, 1e-4, 1 - 1e-4)
    parts, start = [], 0
    for name, labels in ATTRIBUTES.items():
        part = clipped[start : start + len(labels)]
        parts.append(np.log(part) if name in EXCLUSIVE else np.log(part / (1 - part)))
        start += len(labels)
    return jnp.asarray(np.concatenate(parts))[None]


def attribute_parts(logits: Array, targets: Array) -> dict[str, Array]:
    """Mean cross-entropy of each group of attributes in nats."""
    parts, start = {}, 0
    logits = jnp.broadcast_to(logits, targets.shape)
    for name, labels in ATTRIBUTES.items():
        said, true = logits[:, start : start + len(labels)], targets[:, start : start + len(labels)]
        start += len(labels)
        if name in EXCLUSIVE:
            parts[name] = -(true * jax.nn.log_softmax(said)).sum(-1).mean()
        else:
            parts[name] = optax.sigmoid_binary_cross_entropy(said, true).sum(-1).mean()
    return parts
