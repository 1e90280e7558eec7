"""Training without labels: self-distillation between views of a scene, and prediction of masked patches.

A student sees a view of which most patches are left out; a teacher, whose weights follow the student's, sees another
view whole. The student's class token is to say what the teacher's says, a distribution over prototypes (DINO, Caron et
al. 2021, arXiv:2104.14294; with masked students as in MSN, Assran et al. 2022, arXiv:2204.07141). Over a batch the
teacher is made to use all prototypes alike, by Sinkhorn's iteration as in SwAV (Caron et al. 2020, arXiv:2006.09882)
and DINOv2 (Oquab et al. 2023, arXiv:2304.07193): a teacher with a running centre used ten of 256 here. As in
DINOv2 the student's class tokens are kept apart (KoLeo). From the class token alone a predictor of
one block draws patches that were left out (as MAE, He et al. 2022, arXiv:2111.06377, does from the other patches).

Axes: B scenes, T tokens, D width, N patches, P prototypes.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vla.microworld.training.architectures import IMAGE, PATCH, D, write_description
from vla.microworld.training.augmentation import jittered
from vla.microworld.training.material import Material
from vla.microworld.training.networks import class_token, pixels_of, untrained
from vla.microworld.training.probes import vision_findings
from vla.microworld.training.saving import save_tensors, tensors_of
from vla.microworld.training.settings import Settings
from vla.microworld.training.task import Tree
from vla.models.vision_encoder import Block

PATCHES = (IMAGE // PATCH) ** 2
VISIBLE, PREDICTED = 28, 24
PROTOTYPES, HIDDEN, BOTTLENECK = 1024, 128, 32
STUDENT_HEAT, TEACHER_HEAT = 0.07, 0.03
SINKHORN_ROUNDS = 3
# Of the term that keeps class tokens apart.
APART = 0.1
# How slowly the teacher follows: from the first at the beginning to 1 at the end.
SLOWNESS = 0.98


class SelfDistillation:
    """A DINOv2 that learns from pictures alone."""

    def __init__(self, settings: Settings, seen: Material, unseen: Material, scratch: Path) -> None:
        """Lay out the model in `scratch`."""
        self.settings, self.seen, self.unseen = settings, seen, unseen
        self.scratch = scratch
        write_description(scratch, settings.model)
        network: Any = untrained(scratch, settings.seed)
        self.graph, _ = nnx.split(network)
        predictor = Block(network.config, dtype=jnp.float32, rngs=nnx.Rngs(settings.seed + 1))
        self.predictor_graph, self._predictor = nnx.split(predictor)
        # Prototypes all as likely; every patch drawn plain in its own mean colour.
        plain = float(jnp.square(_normal_patches(jnp.asarray(pixels_of(unseen.pictures[:100])))).mean())
        self.constant = {"distillation": float(np.log(PROTOTYPES)), "patches": plain}
        self.constant["loss"] = sum(self.constant.values())
        draws = np.random.default_rng([settings.seed, 1])
        self.held_out = [
            self._views(unseen.pictures[i : i + settings.batch], draws)
            for i in range(0, len(unseen.pictures), settings.batch)
        ]

    def fresh(self) -> Tree:
        """The network; the head that maps to prototypes; the predictor of patches."""
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

    def fresh_memory(self, parameters: Tree) -> Tree:
        """The teacher begins as the student."""
        names = ("inner", "outer", "prototypes")
        teacher = {"network": parameters["network"], "head": {name: parameters["head"][name] for name in names}}
        return {"teacher": jax.tree.map(jnp.copy, teacher)}

    def batch(self, rng: np.random.Generator) -> Tree:
        """Two views of some scenes."""
        N = len(self.seen.pictures)
        rows = np.sort(rng.choice(N, self.settings.batch, replace=N < 1000))
        return self._views(self.seen.pictures[rows], rng)

    def _views(self, pictures: np.ndarray, rng: np.random.Generator) -> Tree:
        """Pixels of two views [2, B, 3, H, W], and the patches of the second in random order [B, N]."""
        pixels = np.stack([pixels_of(jittered(pictures, rng)) for _ in range(2)])
        order = np.argsort(rng.random((len(pictures), PATCHES)), axis=-1).astype(np.int32)
        return pixels, order

    def loss(self, parameters: Tree, memory: Tree, batch: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """Cross-entropy with the teacher of the other view, in nats, and squared error of normalised patches."""
        pixels, order = batch
        network: Any = nnx.merge(self.graph, parameters["network"])
        teacher: Any = nnx.merge(self.graph, memory["teacher"]["network"])
        taught = class_token(teacher, teacher.embedding(pixels[0]))
        target = jax.lax.stop_gradient(sinkhorn(_prototypes(memory["teacher"]["head"], taught) / TEACHER_HEAT))

        tokens = network.embedding(pixels[1])
        visible, masked = order[:, :VISIBLE], order[:, VISIBLE : VISIBLE + PREDICTED]
        kept = jnp.take_along_axis(tokens[:, 1:], visible[..., None], axis=1)
        cls = class_token(network, jnp.concatenate([tokens[:, :1], kept], axis=1))
        said = jax.nn.log_softmax(_prototypes(parameters["head"], cls) / STUDENT_HEAT)
        distillation = -(target * said).sum(-1).mean()
        patches = self._patches(network, parameters["head"], cls, pixels[1], masked)
        parts = {"distillation": distillation, "patches": patches, "apart": apart(cls)}
        # How many prototypes the student tells, by the entropy of its mean answer: 1 is collapse.
        mean = jnp.exp(said).mean(0)
        parts["prototypes_used"] = jnp.exp(-(mean * jnp.log(mean + 1e-9)).sum())
        return distillation + patches + APART * parts["apart"], (parts, {})

    def _patches(self, network: Any, head: Tree, cls: Array, pixels: Array, masked: Array) -> Array:
        """Mean squared error of masked patches, each of mean 0 and deviation 1."""
        predictor: Any = nnx.merge(self.predictor_graph, head["predictor"])
        places = network.embedding.positions[1:][masked]
        drawn = predictor(jnp.concatenate([cls[:, None], head["mask"] + places], axis=1))[:, 1:] @ head["pixels"].T
        true = jnp.take_along_axis(_normal_patches(pixels), masked[..., None], axis=1)
        return jnp.square(drawn - true).mean()

    def remember(self, memory: Tree, parameters: Tree, seen: Tree, progress: Array) -> Tree:
        """The teacher follows the student."""
        slow = 1 - (1 - SLOWNESS) * (jnp.cos(jnp.pi * progress) + 1) / 2
        names = ("inner", "outer", "prototypes")
        student = {"network": parameters["network"], "head": {name: parameters["head"][name] for name in names}}
        return {"teacher": jax.tree.map(lambda old, new: slow * old + (1 - slow) * new, memory["teacher"], student)}

    def write(self, folder: Path, parameters: Tree) -> None:
        """Dinov2Model, of the student."""
        write_description(folder, self.settings.model)
        tensors = tensors_of(nnx.merge(self.graph, parameters["network"]), "dinov2")
        tensors["embeddings.mask_token"] = np.zeros((1, D), np.float32)
        save_tensors(folder, tensors)

    def findings(self, before: Tree, after: Tree) -> dict[str, Any]:
        """How well attributes, of which the training knew nothing, are read from the class token."""
        return vision_findings(self.graph, before["network"], after["network"], self.seen, self.unseen)


def _normal_patches(pixels: Array) -> Array:
    """The pixels of each patch [B, N, 3 P P], of mean 0 and of deviation 1 unless it is plain."""
    B, side = len(pixels), IMAGE // PATCH
    cut = pixels.reshape(B, 3, side, PATCH, side, PATCH).transpose(0, 2, 4, 1, 3, 5).reshape(B, PATCHES, -1)
    return (cut - cut.mean(-1, keepdims=True)) / (cut.std(-1, keepdims=True) + 0.1)


def sinkhorn(logits: Array) -> Array:
    """Shares of prototypes [B, P], each row of sum 1, that use all prototypes about alike."""
    shares = jnp.exp(logits - logits.max())
    for _ in range(SINKHORN_ROUNDS):
        shares = shares / shares.sum(0, keepdims=True)
        shares = shares / shares.sum(1, keepdims=True)
    return shares


def apart(tokens: Array) -> Array:
    """KoLeo: minus the mean logarithm of each direction's distance to the nearest other (arXiv:1806.03198)."""
    directions = tokens / (jnp.linalg.norm(tokens, axis=-1, keepdims=True) + 1e-6)
    cosines = directions @ directions.T - 2 * jnp.eye(len(directions))
    nearest = jax.lax.stop_gradient(cosines.argmax(1))
    return -jnp.log(jnp.linalg.norm(directions - directions[nearest] + 1e-6, axis=-1)).mean()


def _prototypes(head: Tree, cls: Array) -> Array:
    """Cosines with the prototypes [B, P]."""
    inner = jax.nn.gelu(cls @ head["inner"].T) @ head["outer"].T
    inner = inner / (jnp.linalg.norm(inner, axis=-1, keepdims=True) + 1e-6)
    prototypes = head["prototypes"]
    prototypes = prototypes / (jnp.linalg.norm(prototypes, axis=-1, keepdims=True) + 1e-6)
    return inner @ prototypes.T
