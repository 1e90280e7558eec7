"""Training of a judge of captions: a CLIP, on pairs of scene and caption (Radford et al. 2021, arXiv:2103.00020).

It is no model of the study, whose models never see a pair. So that few steps teach it what there is in a picture, both
embeddings also tell the attributes of the scene, by one classifier that is thrown away.

Axes: B pairs, T tokens, E embedding width, O outputs of the classifier.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vla.microworld.training.architectures import CLIP_SPACE, D, write_description
from vla.microworld.training.attributes import LABELS, attribute_parts, attribute_targets, frequency_logits
from vla.microworld.training.augmentation import jittered
from vla.microworld.training.material import Material
from vla.microworld.training.networks import class_token, padded, pixels_of, read_texts, untrained
from vla.microworld.training.saving import save_tensors, tensors_of
from vla.microworld.training.settings import Settings
from vla.microworld.training.task import Tree
from vla.microworld.training.tokenizer import EOS, PAD, make_tokenizer

# What CLIP Score puts before a caption; half of the captions are read with it.
PREFIX = "A photo depicts "
# Of cosines: at first, and at most.
SHARPNESS, SHARPEST = 1 / 0.07, 100.0
# Of the attributes' cross-entropy, and of embeddings where attributes are told from them.
ATTRIBUTES_WEIGHT, ATTRIBUTES_SCALE = 0.1, 8.0


class Pairs:
    """A CLIP that learns which caption is of which scene."""

    def __init__(self, settings: Settings, seen: Material, unseen: Material, scratch: Path) -> None:
        """Make the tokenizer, and lay out the model in `scratch`."""
        self.settings, self.seen, self.scratch = settings, seen, scratch
        captions = [caption for captions in (*seen.captions, *unseen.captions) for caption in captions]
        prefixed = [PREFIX + caption for caption in captions]
        n, C = len(seen.captions), len(seen.captions[0])
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
        self.targets, targets = attribute_targets(seen), attribute_targets(unseen)
        pixels = pixels_of(unseen.pictures)
        self.held_out = [
            (
                pixels[i : i + settings.batch],
                ids[1, n + i : n + i + settings.batch, 0],
                mask[1, n + i :][: settings.batch, 0],
                targets[i : i + settings.batch],
            )
            for i in range(0, len(pixels) - len(pixels) % settings.batch or len(pixels), settings.batch)
        ]
        self.frequent = frequency_logits(self.targets.mean(0))
        guess = attribute_parts(self.frequent, jnp.asarray(targets))
        self.constant = {"pairs": float(np.log(len(self.held_out[0][0]))), "attributes": float(sum(guess.values()))}
        self.constant["loss"] = self.constant["pairs"] + ATTRIBUTES_WEIGHT * self.constant["attributes"]

    def _towers(self) -> tuple[Any, Any]:
        """Image and text encoder before training."""
        seed = self.settings.seed
        return untrained(self.scratch, seed), untrained(self.scratch, seed + 1, "text")

    def fresh(self) -> Tree:
        """Both towers, the two projections, the sharpness; the classifier, as of `Attributes`."""
        keys = jax.random.split(jax.random.key(self.settings.seed + 2))
        vision, text = (jax.random.normal(key, (CLIP_SPACE, D)) * D**-0.5 for key in keys)
        head = {"vision": vision, "text": text, "scale": jnp.log(SHARPNESS)}
        head |= {"weight": jnp.zeros((len(LABELS), CLIP_SPACE)), "bias": jnp.copy(self.frequent[0])}
        return {"network": [nnx.split(network)[1] for network in self._towers()], "head": head}

    def fresh_memory(self, parameters: Tree) -> Tree:
        """Nothing."""
        return {}

    def batch(self, rng: np.random.Generator) -> Tree:
        """Pictures, jittered, one caption of each, with or without the prefix, and attributes."""
        B, N = self.settings.batch, self.ids.shape[1]
        rows = np.sort(rng.choice(N, B, replace=N < 1000))
        which = rng.integers(2, size=B), rows, rng.integers(self.ids.shape[2], size=B)
        pixels = pixels_of(jittered(self.seen.pictures[rows], rng))
        return pixels, self.ids[which], self.mask[which], self.targets[rows]

    def loss(self, parameters: Tree, memory: Tree, batch: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """Cross-entropies in nats: of the right caption and the right picture, and of attributes told from both."""
        pixels, ids, mask, targets = batch
        vision, text = (nnx.merge(*both) for both in zip(self.graphs, parameters["network"], strict=True))
        seen = _unit(class_token(vision, vision.embedding(pixels)) @ parameters["head"]["vision"].T)
        ends = (ids == self.end).argmax(1)
        read = jnp.take_along_axis(read_texts(text, ids, mask), ends[:, None, None], axis=1)[:, 0]
        read = _unit(read @ parameters["head"]["text"].T)
        logits = jnp.minimum(jnp.exp(parameters["head"]["scale"]), SHARPEST) * seen @ read.T
        right = [jnp.diag(jax.nn.log_softmax(logits, axis)).mean() for axis in (0, 1)]
        hits = (logits.argmax(1) == jnp.arange(len(logits))).mean()
        pairs = -(right[0] + right[1]) / 2
        told = jnp.zeros(())
        for embedding in (seen, read):
            said = ATTRIBUTES_SCALE * embedding @ parameters["head"]["weight"].T + parameters["head"]["bias"]
            told = told + sum(attribute_parts(said, targets).values()) / 2
        return pairs + ATTRIBUTES_WEIGHT * told, ({"pairs": pairs, "attributes": told, "accuracy": hits}, {})

    def remember(self, memory: Tree, parameters: Tree, seen: Tree, progress: Array) -> Tree:
        """Nothing."""
        return {}

    def write(self, folder: Path, parameters: Tree) -> None:
        """CLIPModel."""
        write_description(folder, self.settings.model, self.tokenizer)
        vision, text = (nnx.merge(*both) for both in zip(self.graphs, parameters["network"], strict=True))
        head = {name: np.asarray(value) for name, value in parameters["head"].items()}
        tensors = tensors_of(vision, "clip") | tensors_of(text, "clip", "text")
        tensors["visual_projection.weight"], tensors["text_projection.weight"] = head["vision"], head["text"]
        tensors["logit_scale"] = np.minimum(head["scale"], np.log(SHARPEST))
        save_tensors(folder, tensors)

    def findings(self, before: Tree, after: Tree) -> dict[str, Any]:
        """How many captions there are to choose from, and how often chance is right."""
        size = len(self.held_out[0][0])
        return {"choice": {"captions": size, "chance_accuracy": 1 / size}}


def _unit(embeddings: Array) -> Array:
    return embeddings / jnp.linalg.norm(embeddings, axis=-1, keepdims=True)
