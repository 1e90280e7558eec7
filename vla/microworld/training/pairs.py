"""Training of a judge of captions: a CLIP, on pairs of scene and caption (Radford et al. 2021, arXiv:2103.00020).

It is no model of the study, whose models never see a pair.

Axes: B pairs, T tokens, E embedding width.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vla.microworld.training.architectures import CLIP_SPACE, D, write_description
from vla.microworld.training.augmentation import jittered
from vla.microworld.training.material import Material
from vla.microworld.training.networks import padded, pixels_of, read_texts, through_blocks, untrained
from vla.microworld.training.saving import save_tensors, tensors_of
from vla.microworld.training.settings import Settings
from vla.microworld.training.task import Tree
from vla.microworld.training.tokenizer import EOS, PAD, make_tokenizer

# What CLIP Score puts before a caption; half of the captions are read with it.
PREFIX = "A photo depicts "
# Of cosines: at first, and at most.
SHARPNESS, SHARPEST = 1 / 0.07, 100.0


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
        pixels = pixels_of(unseen.pictures)
        self.held_out = [
            (
                pixels[i : i + settings.batch],
                ids[1, n + i : n + i + settings.batch, 0],
                mask[1, n + i :][: settings.batch, 0],
            )
            for i in range(0, len(pixels) - len(pixels) % settings.batch or len(pixels), settings.batch)
        ]
        self.constant = {"loss": float(np.log(len(self.held_out[0][0])))}

    def _towers(self) -> tuple[Any, Any]:
        """Image and text encoder before training."""
        seed = self.settings.seed
        return untrained(self.scratch, seed), untrained(self.scratch, seed + 1, "text")

    def fresh(self) -> Tree:
        """Both towers, the two projections, the sharpness."""
        keys = jax.random.split(jax.random.key(self.settings.seed + 2))
        vision, text = (jax.random.normal(key, (CLIP_SPACE, D)) * D**-0.5 for key in keys)
        head = {"vision": vision, "text": text, "scale": jnp.log(SHARPNESS)}
        return {"network": [nnx.split(network)[1] for network in self._towers()], "head": head}

    def fresh_memory(self, parameters: Tree) -> Tree:
        """Nothing."""
        return {}

    def batch(self, rng: np.random.Generator) -> Tree:
        """Pictures, jittered, and one caption of each, with or without the prefix."""
        B, N = self.settings.batch, self.ids.shape[1]
        rows = np.sort(rng.choice(N, B, replace=N < 1000))
        which = rng.integers(2, size=B), rows, rng.integers(self.ids.shape[2], size=B)
        return pixels_of(jittered(self.seen.pictures[rows], rng)), self.ids[which], self.mask[which]

    def loss(self, parameters: Tree, memory: Tree, batch: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """Mean of the cross-entropies of the right caption of each picture and of the right picture of each."""
        pixels, ids, mask = batch
        vision, text = (nnx.merge(*both) for both in zip(self.graphs, parameters["network"], strict=True))
        seen = _unit(through_blocks(vision, vision.embedding(pixels))[:, 0] @ parameters["head"]["vision"].T)
        ends = (ids == self.end).argmax(1)
        read = jnp.take_along_axis(read_texts(text, ids, mask), ends[:, None, None], axis=1)[:, 0]
        read = _unit(read @ parameters["head"]["text"].T)
        logits = jnp.minimum(jnp.exp(parameters["head"]["scale"]), SHARPEST) * seen @ read.T
        right = [jnp.diag(jax.nn.log_softmax(logits, axis)).mean() for axis in (0, 1)]
        hits = (logits.argmax(1) == jnp.arange(len(logits))).mean()
        return -(right[0] + right[1]) / 2, ({"accuracy": hits}, {})

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
