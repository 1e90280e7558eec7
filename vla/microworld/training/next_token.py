"""Training of a decoder by next-token prediction on captions; never a picture.

Axes: B captions, T tokens, V vocabulary.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vla.microworld.training.architectures import write_description
from vla.microworld.training.material import Material
from vla.microworld.training.networks import padded, read_texts, tied_logits, untrained
from vla.microworld.training.saving import save_tensors, tensors_of
from vla.microworld.training.settings import Settings
from vla.microworld.training.task import Tree
from vla.microworld.training.tokenizer import EOS, PAD, make_tokenizer


class NextToken:
    """A LLaMA or a BLOOM that learns from captions alone."""

    def __init__(self, settings: Settings, seen: Material, unseen: Material, scratch: Path) -> None:
        """Make the tokenizer, and lay out the model in `scratch`."""
        self.settings, self.scratch = settings, scratch
        seen_captions = [caption for captions in seen.captions for caption in captions]
        unseen_captions = [caption for captions in unseen.captions for caption in captions]
        self.tokenizer = make_tokenizer(seen_captions)
        write_description(scratch, settings.model, self.tokenizer)
        self.graph, _ = nnx.split(untrained(scratch, settings.seed))
        end, pad = self.tokenizer.token_to_id(EOS), self.tokenizer.token_to_id(PAD)
        rows = [[*encoded.ids, end] for encoded in self.tokenizer.encode_batch_fast(seen_captions + unseen_captions)]
        assert pad is not None
        ids, mask = padded(rows, pad)
        n = len(seen_captions)
        self.ids, self.mask = ids[:n], mask[:n]
        self.held_out = [
            (ids[i : i + settings.batch], mask[i : i + settings.batch]) for i in range(n, len(ids), 5 * settings.batch)
        ]
        self.unseen = [row[1:] for row in rows[n:]]
        self.constant = {"loss": self._unigram()}

    def fresh(self) -> Tree:
        """The network; its embeddings are the head as well."""
        return {"network": nnx.split(untrained(self.scratch, self.settings.seed))[1], "head": {}}

    def fresh_memory(self, parameters: Tree) -> Tree:
        """Nothing."""
        return {}

    def batch(self, rng: np.random.Generator) -> Tree:
        """Captions as token ids and a mask."""
        rows = rng.integers(len(self.ids), size=self.settings.batch)
        return self.ids[rows], self.mask[rows]

    def loss(self, parameters: Tree, memory: Tree, batch: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """Cross-entropy of the next token in nats, mean over tokens; the caption's end is one of them."""
        ids, mask = batch
        network: Any = nnx.merge(self.graph, parameters["network"])
        logits = tied_logits(network, read_texts(network, ids[:, :-1], mask[:, :-1]))
        said = jnp.take_along_axis(jax.nn.log_softmax(logits), ids[:, 1:, None], axis=-1)[..., 0]
        return -(said * mask[:, 1:]).sum() / mask[:, 1:].sum(), ({}, {})

    def remember(self, memory: Tree, parameters: Tree, seen: Tree, progress: Array) -> Tree:
        """Nothing."""
        return {}

    def write(self, folder: Path, parameters: Tree) -> None:
        """LlamaForCausalLM or BloomForCausalLM, whose head is the embedding."""
        write_description(folder, self.settings.model, self.tokenizer)
        family = self.settings.model.removeprefix("micro-")
        save_tensors(folder, tensors_of(nnx.merge(self.graph, parameters["network"]), family))

    def findings(self, before: Tree, after: Tree) -> dict[str, Any]:
        """Trivial guesses, in nats a token: every token alike, as frequent as it is, and after the one before it."""
        return {
            "guesses": {
                "uniform": float(np.log(self.tokenizer.get_vocab_size())),
                "unigram": self.constant["loss"],
                "bigram": self._bigram(),
            }
        }

    def _unigram(self) -> float:
        """Cross-entropy of unseen captions under the tokens' frequencies in seen ones, each counted once more."""
        V = self.tokenizer.get_vocab_size()
        counts = np.bincount(self.ids[:, 1:][self.mask[:, 1:]], minlength=V) + 1.0
        return float(-np.log(counts / counts.sum())[np.concatenate(self.unseen)].mean())

    def _bigram(self) -> float:
        """The same under frequencies given the token before, each counted 0.01 times more."""
        V = self.tokenizer.get_vocab_size()
        counts = np.full((V, V), 0.01)
        real = self.mask[:, 1:]
        np.add.at(counts, (self.ids[:, :-1][real], self.ids[:, 1:][real]), 1.0)
        surprise = -np.log(counts / counts.sum(1, keepdims=True))
        opening = int(self.ids[0, 0])
        values = [surprise[[opening, *row[:-1]], row] for row in self.unseen]
        return float(np.concatenate(values).mean())
