"""Asks a causal language model of the transformers library on this machine."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

from vla.stimuli.generators.client import needing
from vla.stimuli.generators.weights import identify

DTYPES = ("bfloat16", "float16", "float32")


@dataclasses.dataclass
class LocalModel:
    """Weights on this machine or from the Hub; one that was tuned to follow instructions is expected.

    Its chat template is used where it has one. Only safetensors are read, and no code of the repository is run.

    Attributes:
      model: A directory or a Hub id.
      revision: Branch, tag or commit on the Hub.
      temperature: Of the sampling; 0 takes the likeliest token.
      top_p: Of the sampling.
      max_output_tokens: Longest answer.
      dtype: Of weights and computation.
      device: Such as "cuda"; "" takes the first GPU if there is one.
    """

    model: str
    revision: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    max_output_tokens: int = 1024
    dtype: str = "bfloat16"
    device: str = ""
    most_at_once: int | None = dataclasses.field(default=1, init=False)
    _network: Any = dataclasses.field(default=None, init=False, repr=False)
    _tokenizer: Any = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a number type that is none."""
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r}; expected one of {', '.join(DTYPES)}")

    @property
    def name(self) -> str:
        """What the model is called."""
        return Path(self.model).name if os.path.isdir(self.model) else self.model

    @functools.cached_property
    def _identity(self) -> str:
        return identify(self.model, self.revision, "config.json")

    @property
    def settings(self) -> dict[str, Any]:
        """What determines an answer beside request and seed; the device does not enter, though it may show."""
        sampling = {name: getattr(self, name) for name in ("temperature", "top_p", "max_output_tokens", "dtype")}
        return {"client": "local", "model": self._identity, **sampling}

    def open(self) -> None:
        """Load tokenizer and weights.

        Raises:
          ValueError: torch is not installed; the checkpoint is not complete, not in safetensors, or needs its own code.
        """
        with needing("torch"):
            import torch
            import transformers
        # The commit that was identified, not whatever a branch has become since.
        _, _, commit = self._identity.rpartition("@")
        options = {"revision": commit} if "@" in self._identity else {}
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(self.model, trust_remote_code=False, **options)
            network: Any = transformers.AutoModelForCausalLM.from_pretrained(
                self.model,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=getattr(torch, self.dtype),
                **options,
            )
        except Exception as error:  # the library raises errors of many kinds
            why = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{self.model} cannot be loaded as a causal language model: {why}. Expected a complete checkpoint with "
                "tokenizer, weights in safetensors, and an architecture that transformers has"
            ) from error
        self._network = network.eval().to(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def complete(self, request: str, seed: int) -> str:
        """The model's answer, the same for the same seed whatever was asked before.

        Raises:
          ValueError: request and answer together are longer than the model's context.
        """
        assert self._network is not None, "open() comes first"
        import torch

        if self._tokenizer.chat_template:
            tokens = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": request}],
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
            )
        else:
            tokens = self._tokenizer(request + "\n\n", return_tensors="pt")
        length = tokens["input_ids"].shape[1]
        longest = getattr(self._network.config, "max_position_embeddings", None)
        if longest is not None and length + self.max_output_tokens > longest:
            raise ValueError(
                f"a request of {length} tokens and an answer of up to {self.max_output_tokens} do not fit into the "
                f"{longest} positions of {self.model}: lower max_output_tokens, or take another model"
            )
        tokens = {name: tokens[name].to(self._network.device) for name in ("input_ids", "attention_mask")}
        sampling = {"do_sample": False}
        if self.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}
        padding = self._tokenizer.pad_token_id
        if padding is None:
            padding = self._tokenizer.eos_token_id
        # Sampling draws from torch's global stream, which is put back afterwards.
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            output = self._network.generate(
                **tokens, max_new_tokens=self.max_output_tokens, pad_token_id=padding, **sampling
            )
        return self._tokenizer.decode(output[0, length:], skip_special_tokens=True)
