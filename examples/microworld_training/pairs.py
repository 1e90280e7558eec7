"""Trains a CLIP on pairs of image and caption (Radford et al. 2021, arXiv:2103.00020); it computes CLIP Score.

It is not one of the studied models, which never see a pair. To learn the content of images in few steps, both
embeddings also predict the attributes of the scene, by a shared classifier that is not part of the checkpoint.

Axes: B pairs, T tokens, E embedding width, O outputs of the classifier.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import PyTree

from examples.microworld_training.architectures import CLIP_SPACE, EOS, PAD, D, make_tokenizer, write_description
from examples.microworld_training.attributes import LABELS, attribute_losses, attribute_targets, prior_logits
from examples.microworld_training.networks import class_token, padded, pixels_of, read_texts
from examples.microworld_training.settings import Settings
from examples.microworld_training.training_scenes import TrainingScenes, jittered
from vla.microworld.checkpoints import save_tensors, tensors_of, untrained

# The prefix that CLIP Score adds to captions; half of the training captions have it.
PREFIX = "A photo depicts "
# Factor of cosines (inverse temperature): initial and largest value.
INITIAL_SCALE, MAX_SCALE = 1 / 0.07, 100.0
# Weight of the cross-entropy of attributes, and factor of the embeddings before their classifier.
ATTRIBUTES_WEIGHT, ATTRIBUTES_SCALE = 0.1, 8.0


class Pairs:
    """Task: a CLIP that learns which caption belongs to which image."""

    def __init__(self, settings: Settings, train: TrainingScenes, held_out: TrainingScenes, scratch: Path) -> None:
        """Train the tokenizer, and write the model's config to `scratch`."""
        self.settings, self.train, self.scratch = settings, train, scratch
        captions = [caption for captions in (*train.captions, *held_out.captions) for caption in captions]
        prefixed = [PREFIX + caption for caption in captions]
        n, C = len(train.captions), len(train.captions[0])
        self.tokenizer = make_tokenizer([text for both in zip(captions, prefixed, strict=True) for text in both], True)
        write_description(scratch, settings.model, self.tokenizer)
        self.graphs = [nnx.split(network)[0] for network in self._towers()]
        rows = [encoded.ids for encoded in self.tokenizer.encode_batch_fast(captions + prefixed)]
        pad = self.tokenizer.token_to_id(PAD)
        assert pad is not None
        ids, mask = padded(rows, pad)
        # [prefix, scene, caption, token]
        ids, mask = (part.reshape(2, -1, C, part.shape[1]) for part in (ids, mask))
        self.ids, self.mask = ids[:, :n], mask[:, :n]
        self.end = self.tokenizer.token_to_id(EOS)
        self.targets, targets = attribute_targets(train), attribute_targets(held_out)
        pixels = pixels_of(held_out.images)
        self.held_out = [
            (
                pixels[i : i + settings.batch],
                ids[1, n + i : n + i + settings.batch, 0],
                mask[1, n + i :][: settings.batch, 0],
                targets[i : i + settings.batch],
            )
            for i in range(0, len(pixels) - len(pixels) % settings.batch or len(pixels), settings.batch)
        ]
        self.prior = prior_logits(self.targets.mean(0))
        guess = attribute_losses(self.prior, jnp.asarray(targets))
        self.trivial = {"pairs": float(np.log(len(self.held_out[0][0]))), "attributes": float(sum(guess.values()))}
        self.trivial["loss"] = self.trivial["pairs"] + ATTRIBUTES_WEIGHT * self.trivial["attributes"]

    def _towers(self) -> tuple[Any, Any]:
        """The image encoder and the text encoder before training."""
        seed = self.settings.seed
        return untrained(self.scratch, seed), untrained(self.scratch, seed + 1, "text")

    def initial_parameters(self) -> PyTree:
        """Both towers, their projections, the scale, and a classifier as in `Attributes`."""
        keys = jax.random.split(jax.random.key(self.settings.seed + 2))
        vision, text = (jax.random.normal(key, (CLIP_SPACE, D)) * D**-0.5 for key in keys)
        head = {"vision": vision, "text": text, "scale": jnp.log(INITIAL_SCALE)}
        head |= {"weight": jnp.zeros((len(LABELS), CLIP_SPACE)), "bias": jnp.copy(self.prior[0])}
        return {"network": [nnx.split(network)[1] for network in self._towers()], "head": head}

    def initial_memory(self, parameters: PyTree) -> PyTree:
        """None."""
        return {}

    def batch(self, rng: np.random.Generator) -> PyTree:
        """Jittered images, one caption of each with or without the prefix, and attributes."""
        B, N = self.settings.batch, self.ids.shape[1]
        rows = np.sort(rng.choice(N, B, replace=N < 1000))
        index = rng.integers(2, size=B), rows, rng.integers(self.ids.shape[2], size=B)
        pixels = pixels_of(jittered(self.train.images[rows], rng))
        return pixels, self.ids[index], self.mask[index], self.targets[rows]

    def loss(self, parameters: PyTree, memory: PyTree, batch: PyTree) -> tuple[Array, dict[str, Array]]:
        """Cross-entropies in nats: of the matching caption and image, and of the attributes predicted from both."""
        pixels, ids, mask, targets = batch
        vision, text = (nnx.merge(*both) for both in zip(self.graphs, parameters["network"], strict=True))
        image_embeddings = _normalised(class_token(vision, vision.embedding(pixels)) @ parameters["head"]["vision"].T)
        ends = (ids == self.end).argmax(1)
        last = jnp.take_along_axis(read_texts(text, ids, mask), ends[:, None, None], axis=1)[:, 0]
        text_embeddings = _normalised(last @ parameters["head"]["text"].T)
        logits = jnp.minimum(jnp.exp(parameters["head"]["scale"]), MAX_SCALE) * image_embeddings @ text_embeddings.T
        matching = [jnp.diag(jax.nn.log_softmax(logits, axis)).mean() for axis in (0, 1)]
        accuracy = (logits.argmax(1) == jnp.arange(len(logits))).mean()
        pairs = -(matching[0] + matching[1]) / 2
        attributes = jnp.zeros(())
        for embedding in (image_embeddings, text_embeddings):
            predicted = ATTRIBUTES_SCALE * embedding @ parameters["head"]["weight"].T + parameters["head"]["bias"]
            attributes = attributes + sum(attribute_losses(predicted, targets).values()) / 2
        parts = {"pairs": pairs, "attributes": attributes, "accuracy": accuracy}
        return pairs + ATTRIBUTES_WEIGHT * attributes, parts

    def update_memory(self, memory: PyTree, parameters: PyTree, progress: Array) -> PyTree:
        """None."""
        return {}

    def write(self, folder: Path, parameters: PyTree) -> None:
        """Write a CLIPModel."""
        write_description(folder, self.settings.model, self.tokenizer)
        vision, text = (nnx.merge(*both) for both in zip(self.graphs, parameters["network"], strict=True))
        head = {name: np.asarray(value) for name, value in parameters["head"].items()}
        tensors = tensors_of(vision, "clip") | tensors_of(text, "clip", "text")
        tensors["visual_projection.weight"], tensors["text_projection.weight"] = head["vision"], head["text"]
        tensors["logit_scale"] = np.minimum(head["scale"], np.log(MAX_SCALE))
        save_tensors(folder, tensors)

    def results(self, before: PyTree, after: PyTree) -> dict[str, Any]:
        """Number of captions to choose from, and the accuracy of chance."""
        size = len(self.held_out[0][0])
        return {"choice": {"captions": size, "chance_accuracy": 1 / size}}


def _normalised(embeddings: Array) -> Array:
    return embeddings / jnp.linalg.norm(embeddings, axis=-1, keepdims=True)
