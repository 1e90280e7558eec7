"""Trains a decoder by next-token prediction on captions; it never sees an image.

Axes: B captions, T tokens, V vocabulary.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import PyTree

from examples.microworld_training.architectures import EOS, PAD, make_tokenizer, write_description
from examples.microworld_training.networks import padded, read_texts, tied_logits
from examples.microworld_training.settings import Settings
from examples.microworld_training.training_scenes import TrainingScenes
from vla.microworld.checkpoints import save_tensors, tensors_of, untrained


class NextToken:
    """Task: a LLaMA or a BLOOM that predicts the next token of captions."""

    def __init__(self, settings: Settings, train: TrainingScenes, held_out: TrainingScenes, scratch: Path) -> None:
        """Train the tokenizer, and write the model's config to `scratch`."""
        self.settings, self.scratch = settings, scratch
        train_captions = [caption for captions in train.captions for caption in captions]
        held_out_captions = [caption for captions in held_out.captions for caption in captions]
        self.tokenizer = make_tokenizer(train_captions)
        write_description(scratch, settings.model, self.tokenizer)
        self.graph, _ = nnx.split(untrained(scratch, settings.seed))
        end, pad = self.tokenizer.token_to_id(EOS), self.tokenizer.token_to_id(PAD)
        rows = [[*encoded.ids, end] for encoded in self.tokenizer.encode_batch_fast(train_captions + held_out_captions)]
        assert pad is not None
        ids, mask = padded(rows, pad)
        n = len(train_captions)
        self.ids, self.mask = ids[:n], mask[:n]
        self.held_out = [
            (ids[i : i + settings.batch], mask[i : i + settings.batch]) for i in range(n, len(ids), 5 * settings.batch)
        ]
        self.held_out_rows = [row[1:] for row in rows[n:]]
        self.trivial = {"loss": self._unigram()}

    def initial_parameters(self) -> PyTree:
        """The network; its embeddings are also the head."""
        return {"network": nnx.split(untrained(self.scratch, self.settings.seed))[1], "head": {}}

    def initial_memory(self, parameters: PyTree) -> PyTree:
        """None."""
        return {}

    def batch(self, rng: np.random.Generator) -> PyTree:
        """Captions as token ids and a mask."""
        rows = rng.integers(len(self.ids), size=self.settings.batch)
        return self.ids[rows], self.mask[rows]

    def loss(self, parameters: PyTree, memory: PyTree, batch: PyTree) -> tuple[Array, dict[str, Array]]:
        """Cross-entropy of the next token in nats, averaged over tokens including the end of the caption."""
        ids, mask = batch
        network: Any = nnx.merge(self.graph, parameters["network"])
        logits = tied_logits(network, read_texts(network, ids[:, :-1], mask[:, :-1]))
        log_likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), ids[:, 1:, None], axis=-1)[..., 0]
        return -(log_likelihood * mask[:, 1:]).sum() / mask[:, 1:].sum(), {}

    def update_memory(self, memory: PyTree, parameters: PyTree, progress: Array) -> PyTree:
        """None."""
        return {}

    def write(self, folder: Path, parameters: PyTree) -> None:
        """Write a LlamaForCausalLM or BloomForCausalLM, whose head is the embedding."""
        write_description(folder, self.settings.model, self.tokenizer)
        family = self.settings.model.removeprefix("micro-")
        save_tensors(folder, tensors_of(nnx.merge(self.graph, parameters["network"]), family))

    def results(self, before: PyTree, after: PyTree) -> dict[str, Any]:
        """Cross-entropies of trivial guesses in nats per token: uniform, unigram and bigram frequencies."""
        return {
            "guesses": {
                "uniform": float(np.log(self.tokenizer.get_vocab_size())),
                "unigram": self.trivial["loss"],
                "bigram": self._bigram(),
            }
        }

    def _unigram(self) -> float:
        """Cross-entropy of held-out captions under the token frequencies of training captions, each plus 1."""
        V = self.tokenizer.get_vocab_size()
        counts = np.bincount(self.ids[:, 1:][self.mask[:, 1:]], minlength=V) + 1.0
        return float(-np.log(counts / counts.sum())[np.concatenate(self.held_out_rows)].mean())

    def _bigram(self) -> float:
        """The same under frequencies given the previous token, plus 0.01 for each pair of tokens."""
        V = self.tokenizer.get_vocab_size()
        counts = np.full((V, V), 0.01)
        real = self.mask[:, 1:]
        np.add.at(counts, (self.ids[:, :-1][real], self.ids[:, 1:][real]), 1.0)
        surprise = -np.log(counts / counts.sum(1, keepdims=True))
        opening = int(self.ids[0, 0])
        values = [surprise[[opening, *row[:-1]], row] for row in self.held_out_rows]
        return float(np.concatenate(values).mean())
