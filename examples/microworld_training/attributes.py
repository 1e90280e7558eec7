"""Trains a ViT on scene attributes (ground, weather, things, colours, count; never text), and probes for them.

Axes: B batch, N scenes, D width, O outputs of the classifier.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jaxtyping import Float, PyTree, UInt8
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from examples.microworld_training.architectures import D, write_description
from examples.microworld_training.networks import class_token, pixels_of
from examples.microworld_training.settings import Settings
from examples.microworld_training.training_scenes import ATTRIBUTES, TrainingScenes, jittered
from vla.microworld.checkpoints import save_tensors, tensors_of, untrained
from vla.models.vision_encoder import VisionEncoder

LABELS = tuple(f"{group}: {name}" for group, names in ATTRIBUTES.items() for name in names)
# Exactly one label of these groups is true for a scene; of the other groups, any number.
EXCLUSIVE = ("stuff", "weather", "count")
# Scenes to fit a probe.
PROBE_SCENES = 2000


class Attributes:
    """Task: a ViT whose class token predicts the attributes of a scene."""

    def __init__(self, settings: Settings, train: TrainingScenes, held_out: TrainingScenes, scratch: Path) -> None:
        """Prepare targets and held-out batches, and write the model's config to `scratch`."""
        self.settings, self.train, self.held_out_scenes = settings, train, held_out
        self.scratch = scratch
        write_description(scratch, settings.model, labels=LABELS)
        self.graph, _ = nnx.split(untrained(scratch, settings.seed))
        self.targets = attribute_targets(train)
        self.prior = prior_logits(self.targets.mean(0))
        images, targets = pixels_of(held_out.images), attribute_targets(held_out)
        guess = attribute_losses(self.prior, jnp.asarray(targets))
        self.trivial = {name: float(value) for name, value in guess.items()}
        self.trivial["loss"] = sum(self.trivial.values())
        self.held_out = [
            (images[i : i + settings.batch], targets[i : i + settings.batch])
            for i in range(0, len(images), settings.batch)
        ]

    def initial_parameters(self) -> PyTree:
        """The network, and a classifier that predicts the frequency of every attribute."""
        head = {"weight": jnp.zeros((len(LABELS), D)), "bias": jnp.copy(self.prior[0])}
        return {"network": nnx.split(untrained(self.scratch, self.settings.seed))[1], "head": head}

    def initial_memory(self, parameters: PyTree) -> PyTree:
        """None."""
        return {}

    def batch(self, rng: np.random.Generator) -> PyTree:
        """Jittered images and their attributes."""
        rows = np.sort(rng.choice(len(self.targets), self.settings.batch, replace=len(self.targets) < 1000))
        return pixels_of(jittered(self.train.images[rows], rng)), self.targets[rows]

    def loss(self, parameters: PyTree, memory: PyTree, batch: PyTree) -> tuple[Array, dict[str, Array]]:
        """Cross-entropy in nats, summed over attributes; and the sum of each group."""
        network: Any = nnx.merge(self.graph, parameters["network"])
        pixels, targets = batch
        cls = class_token(network, network.embedding(pixels))
        parts = attribute_losses(cls @ parameters["head"]["weight"].T + parameters["head"]["bias"], targets)
        return sum(parts.values(), jnp.zeros(())), parts

    def update_memory(self, memory: PyTree, parameters: PyTree, progress: Array) -> PyTree:
        """None."""
        return {}

    def write(self, folder: Path, parameters: PyTree) -> None:
        """Write a ViTForImageClassification whose labels are the attributes."""
        write_description(folder, self.settings.model, labels=LABELS)
        tensors = tensors_of(nnx.merge(self.graph, parameters["network"]), "vit")
        tensors |= {f"classifier.{name}": np.asarray(value) for name, value in parameters["head"].items()}
        save_tensors(folder, tensors)

    def results(self, before: PyTree, after: PyTree) -> dict[str, Any]:
        """Probes of the class token on held-out scenes."""
        return probe_results(self.graph, before["network"], after["network"], self.train, self.held_out_scenes)


def attribute_targets(scenes: TrainingScenes) -> Float[np.ndarray, "N O"]:
    """The attributes of each scene as zeros and ones, in the order of LABELS."""
    return np.concatenate([scenes.labels[name] for name in ATTRIBUTES], axis=1).astype(np.float32)


def prior_logits(frequencies: Float[np.ndarray, " O"]) -> Float[Array, "1 O"]:
    """The logits of a classifier that predicts the frequency of each attribute for every scene."""
    clipped = np.clip(frequencies, 1e-4, 1 - 1e-4)
    parts, start = [], 0
    for name, labels in ATTRIBUTES.items():
        part = clipped[start : start + len(labels)]
        parts.append(np.log(part) if name in EXCLUSIVE else np.log(part / (1 - part)))
        start += len(labels)
    return jnp.asarray(np.concatenate(parts))[None]


def attribute_losses(logits: Float[Array, "#B O"], targets: Float[Array, "B O"]) -> dict[str, Array]:
    """Cross-entropy of each group of attributes in nats, averaged over scenes."""
    parts, start = {}, 0
    logits = jnp.broadcast_to(logits, targets.shape)
    for name, labels in ATTRIBUTES.items():
        predicted, true = logits[:, start : start + len(labels)], targets[:, start : start + len(labels)]
        start += len(labels)
        if name in EXCLUSIVE:
            parts[name] = -(true * jax.nn.log_softmax(predicted)).sum(-1).mean()
        else:
            parts[name] = optax.sigmoid_binary_cross_entropy(predicted, true).sum(-1).mean()
    return parts


def probe_results(
    graph: nnx.GraphDef, before: PyTree, after: PyTree, train: TrainingScenes, held_out: TrainingScenes
) -> dict[str, Any]:
    """Probes of the class token before and after training, of downsampled pixels, and chance, on held-out scenes.

    Stuff: accuracy of 10 nearest neighbours by cosine. Things and colours: average precision of a linear probe (ridge,
    penalty 1, standardised features) per label, averaged over labels; its chance level is the label's frequency.
    """
    train = train.part(slice(0, PROBE_SCENES))
    most_frequent = train.labels["stuff"].sum(0).argmax()
    results: dict[str, Any] = {
        "chance": {
            "stuff_accuracy": float(held_out.labels["stuff"][:, most_frequent].mean()),
            "things_average_precision": _mean_frequency(held_out.labels["things"]),
            "colours_average_precision": _mean_frequency(held_out.labels["colours"]),
        },
        "pixels": _probe(_downsampled(train.images), _downsampled(held_out.images), train, held_out),
    }
    for name, state in (("untrained", before), ("trained", after)):
        network = nnx.merge(graph, state)
        features = _class_tokens(network, train.images), _class_tokens(network, held_out.images)
        results[name] = _probe(*features, train, held_out)
    return {"probes_of_final_class_token": results}


def _mean_frequency(labels: UInt8[np.ndarray, "N K"]) -> float:
    """Mean frequency of the labels that occur."""
    return float(labels[:, labels.any(0)].mean())


def _class_tokens(network: VisionEncoder, images: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N D"]:
    """The class token after the final norm."""
    cls = jax.jit(lambda pixels: class_token(network, network.embedding(pixels)))
    return np.concatenate([np.asarray(cls(pixels_of(images[i : i + 50]))) for i in range(0, len(images), 50)])


def _downsampled(images: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N 192"]:
    """Images averaged to 8 by 8 pixels."""
    N, S = images.shape[:2]
    return np.asarray(images, np.float32).reshape(N, 8, S // 8, 8, S // 8, 3).mean((2, 4)).reshape(N, -1)


def _probe(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"], train: TrainingScenes, held_out: TrainingScenes
) -> dict[str, float]:
    """Fit probes to the features `x` of training scenes and score them on the features `y` of held-out scenes."""
    scaler = StandardScaler().fit(x)
    x, y = scaler.transform(x), scaler.transform(y)
    neighbours = KNeighborsClassifier(10, metric="cosine").fit(x, train.labels["stuff"].argmax(1))

    def average_precision(name: str) -> float:
        fitted, true = (part.labels[name].astype(int) for part in (train, held_out))
        # Labels that occur in both parts.
        present = [i for i in range(fitted.shape[1]) if 0 < fitted[:, i].sum() and 0 < true[:, i].sum()]
        scores = RidgeClassifier(alpha=1.0).fit(x, fitted[:, present]).decision_function(y)
        return float(average_precision_score(true[:, present], scores, average="macro"))

    return {
        "stuff_accuracy": float(neighbours.score(y, held_out.labels["stuff"].argmax(1))),
        "things_average_precision": average_precision("things"),
        "colours_average_precision": average_precision("colours"),
    }
