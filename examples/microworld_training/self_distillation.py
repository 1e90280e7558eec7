"""Trains a DINOv2 without labels: self-distillation between crops of an image, and prediction of masked patches.

The student sees one crop with most patches masked; the teacher, a moving average of the student, sees the complete
other crop. The student's class token predicts the teacher's distribution over prototypes (DINO, Caron et al. 2021,
arXiv:2104.14294; with masked students as in MSN, Assran et al. 2022, arXiv:2204.07141). Sinkhorn iterations make the
teacher use all prototypes equally over a batch, as in SwAV (Caron et al. 2020, arXiv:2006.09882) and DINOv2 (Oquab et
al. 2023, arXiv:2304.07193); with a moving centre instead, the teacher used ten of 256 prototypes. The KoLeo term
spreads the student's class tokens, as in DINOv2. A predictor of one block reconstructs masked patches from the class
token alone (MAE, He et al. 2022, arXiv:2111.06377, reconstructs them from the visible patches).

Axes: B images, T tokens, D width, N patches, M numbers per patch, P prototypes.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float, Int, PyTree, UInt8

from examples.microworld_training.architectures import IMAGE, PATCH, D, write_description
from examples.microworld_training.attributes import probe_results
from examples.microworld_training.networks import class_token, pixels_of
from examples.microworld_training.settings import Settings
from examples.microworld_training.training_scenes import TrainingScenes, jittered
from vla.microworld.checkpoints import save_tensors, tensors_of, untrained
from vla.models.vision_encoder import Block, VisionEncoder

PATCHES = (IMAGE // PATCH) ** 2
VISIBLE, PREDICTED = 28, 24
PROTOTYPES, HIDDEN, BOTTLENECK = 1024, 128, 32
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.07, 0.03
SINKHORN_ROUNDS = 3
# Weight of the KoLeo term.
KOLEO_WEIGHT = 0.1
# Decay of the moving average that is the teacher, at the start; it rises to 1 at the end.
TEACHER_DECAY = 0.98


class SelfDistillation:
    """Task: a DINOv2 that learns from images alone."""

    def __init__(self, settings: Settings, train: TrainingScenes, held_out: TrainingScenes, scratch: Path) -> None:
        """Write the model's config to `scratch`, and prepare the predictor and held-out batches."""
        self.settings, self.train, self.held_out_scenes = settings, train, held_out
        self.scratch = scratch
        write_description(scratch, settings.model)
        network: Any = untrained(scratch, settings.seed)
        self.graph, _ = nnx.split(network)
        predictor = Block(network.config, dtype=jnp.float32, rngs=nnx.Rngs(settings.seed + 1))
        self.predictor_graph, self._predictor = nnx.split(predictor)
        # Trivial guess: all prototypes equally likely, and every patch in its mean colour.
        patches = float(jnp.square(_normal_patches(jnp.asarray(pixels_of(held_out.images[:100])))).mean())
        self.trivial = {"distillation": float(np.log(PROTOTYPES)), "patches": patches}
        self.trivial["loss"] = sum(self.trivial.values())
        draws = np.random.default_rng([settings.seed, 1])
        self.held_out = [
            self._crops(held_out.images[i : i + settings.batch], draws)
            for i in range(0, len(held_out.images), settings.batch)
        ]

    def initial_parameters(self) -> PyTree:
        """The network, the head that maps to prototypes, and the predictor of patches."""
        keys = jax.random.split(jax.random.key(self.settings.seed + 2), 5)

        def drawn(key: Array, outputs: int, inputs: int) -> Array:
            return jax.random.normal(key, (outputs, inputs)) * inputs**-0.5

        head = {
            "inner": drawn(keys[0], HIDDEN, D),
            "outer": drawn(keys[1], BOTTLENECK, HIDDEN),
            "prototypes": drawn(keys[2], PROTOTYPES, BOTTLENECK),
            "mask": 0.02 * jax.random.normal(keys[3], (1, D)),
            "pixels": drawn(keys[4], 3 * PATCH**2, D),
            "predictor": self._predictor,
        }
        return {"network": nnx.split(untrained(self.scratch, self.settings.seed))[1], "head": head}

    def initial_memory(self, parameters: PyTree) -> PyTree:
        """The teacher, which starts as the student."""
        names = ("inner", "outer", "prototypes")
        teacher = {"network": parameters["network"], "head": {name: parameters["head"][name] for name in names}}
        return {"teacher": jax.tree.map(jnp.copy, teacher)}

    def batch(self, rng: np.random.Generator) -> PyTree:
        """Two crops of random images."""
        N = len(self.train.images)
        rows = np.sort(rng.choice(N, self.settings.batch, replace=N < 1000))
        return self._crops(self.train.images[rows], rng)

    def _crops(
        self, images: UInt8[np.ndarray, "B H W 3"], rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "2 B 3 H W"], Int[np.ndarray, "B N"]]:
        """Pixels of two crops, and the patches of the second in random order."""
        pixels = np.stack([pixels_of(jittered(images, rng)) for _ in range(2)])
        order = np.argsort(rng.random((len(images), PATCHES)), axis=-1).astype(np.int32)
        return pixels, order

    def loss(self, parameters: PyTree, memory: PyTree, batch: PyTree) -> tuple[Array, dict[str, Array]]:
        """Cross-entropy with the teacher on the other crop in nats, squared error of normalised patches, and KoLeo."""
        pixels, order = batch
        network: Any = nnx.merge(self.graph, parameters["network"])
        teacher: Any = nnx.merge(self.graph, memory["teacher"]["network"])
        teacher_cls = class_token(teacher, teacher.embedding(pixels[0]))
        target = jax.lax.stop_gradient(
            sinkhorn(_prototypes(memory["teacher"]["head"], teacher_cls) / TEACHER_TEMPERATURE)
        )

        tokens = network.embedding(pixels[1])
        visible, masked = order[:, :VISIBLE], order[:, VISIBLE : VISIBLE + PREDICTED]
        kept = jnp.take_along_axis(tokens[:, 1:], visible[..., None], axis=1)
        cls = class_token(network, jnp.concatenate([tokens[:, :1], kept], axis=1))
        log_shares = jax.nn.log_softmax(_prototypes(parameters["head"], cls) / STUDENT_TEMPERATURE)
        distillation = -(target * log_shares).sum(-1).mean()
        patches = self._patches(network, parameters["head"], cls, pixels[1], masked)
        parts = {"distillation": distillation, "patches": patches, "apart": koleo(cls)}
        # Number of prototypes that the student uses: exp of the entropy of its mean prediction. 1 is a collapse.
        mean = jnp.exp(log_shares).mean(0)
        parts["prototypes_used"] = jnp.exp(-(mean * jnp.log(mean + 1e-9)).sum())
        return distillation + patches + KOLEO_WEIGHT * parts["apart"], parts

    def _patches(self, network: VisionEncoder, head: PyTree, cls: Array, pixels: Array, masked: Array) -> Array:
        """Mean squared error of the masked patches, each normalised to mean 0 and standard deviation 1."""
        predictor: Any = nnx.merge(self.predictor_graph, head["predictor"])
        assert network.embedding.positions is not None  # a DINOv2 has a table of positions
        positions = network.embedding.positions[1:][masked]
        predicted = (
            predictor(jnp.concatenate([cls[:, None], head["mask"] + positions], axis=1))[:, 1:] @ head["pixels"].T
        )
        true = jnp.take_along_axis(_normal_patches(pixels), masked[..., None], axis=1)
        return jnp.square(predicted - true).mean()

    def update_memory(self, memory: PyTree, parameters: PyTree, progress: Array) -> PyTree:
        """The teacher moves towards the student, ever more slowly."""
        decay = 1 - (1 - TEACHER_DECAY) * (jnp.cos(jnp.pi * progress) + 1) / 2
        names = ("inner", "outer", "prototypes")
        student = {"network": parameters["network"], "head": {name: parameters["head"][name] for name in names}}
        return {"teacher": jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, memory["teacher"], student)}

    def write(self, folder: Path, parameters: PyTree) -> None:
        """Write the student as a Dinov2Model."""
        write_description(folder, self.settings.model)
        tensors = tensors_of(nnx.merge(self.graph, parameters["network"]), "dinov2")
        tensors["embeddings.mask_token"] = np.zeros((1, D), np.float32)
        save_tensors(folder, tensors)

    def results(self, before: PyTree, after: PyTree) -> dict[str, Any]:
        """Probes of the class token for attributes, which are not used in training."""
        return probe_results(self.graph, before["network"], after["network"], self.train, self.held_out_scenes)


def _normal_patches(pixels: Float[Array, "B 3 H W"]) -> Float[Array, "B N M"]:
    """The pixels of each patch, with mean 0 and standard deviation about 1 (less for nearly uniform patches)."""
    B, side = len(pixels), IMAGE // PATCH
    patches = pixels.reshape(B, 3, side, PATCH, side, PATCH).transpose(0, 2, 4, 1, 3, 5).reshape(B, PATCHES, -1)
    return (patches - patches.mean(-1, keepdims=True)) / (patches.std(-1, keepdims=True) + 0.1)


def sinkhorn(logits: Float[Array, "B P"]) -> Float[Array, "B P"]:
    """Assignments of images to prototypes: each row sums to 1, and all columns have about the same sum."""
    shares = jnp.exp(logits - logits.max())
    for _ in range(SINKHORN_ROUNDS):
        shares = shares / shares.sum(0, keepdims=True)
        shares = shares / shares.sum(1, keepdims=True)
    return shares


def koleo(tokens: Float[Array, "B D"]) -> Float[Array, ""]:
    """KoLeo: minus the mean log distance of each normalised token to its nearest neighbour (arXiv:1806.03198)."""
    directions = tokens / (jnp.linalg.norm(tokens, axis=-1, keepdims=True) + 1e-6)
    cosines = directions @ directions.T - 2 * jnp.eye(len(directions))
    nearest = jax.lax.stop_gradient(cosines.argmax(1))
    return -jnp.log(jnp.linalg.norm(directions - directions[nearest] + 1e-6, axis=-1)).mean()


def _prototypes(head: PyTree, cls: Float[Array, "B D"]) -> Float[Array, "B P"]:
    """Cosine of each class token, mapped by the head, with each prototype."""
    inner = jax.nn.gelu(cls @ head["inner"].T) @ head["outer"].T
    inner = inner / (jnp.linalg.norm(inner, axis=-1, keepdims=True) + 1e-6)
    prototypes = head["prototypes"]
    prototypes = prototypes / (jnp.linalg.norm(prototypes, axis=-1, keepdims=True) + 1e-6)
    return inner @ prototypes.T
