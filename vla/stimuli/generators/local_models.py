"""Models that run on this machine: a language model that paraphrases, and Stable Diffusion that generates images."""

import dataclasses
import functools
import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
from PIL import Image

from vla.checks import check_choice, check_whole_number
from vla.files import file_hash
from vla.records import canonical_hash
from vla.stimuli.generators.client import require_packages
from vla.stimuli.generators.image_files import is_blank

DTYPES = ("bfloat16", "float16", "float32")
# Suffixes of the files that determine the output of a checkpoint; documentation and other weight formats do not.
_SUFFIXES = frozenset({".jinja", ".json", ".model", ".safetensors", ".txt"})


@dataclasses.dataclass
class Checkpoint:
    """A checkpoint that runs on this machine; only safetensors are read, and no code of the repository is executed.

    Attributes:
      model: A directory or a Hub id.
      revision: Branch, tag or commit on the Hub.
      dtype: Number type of weights and computation.
      device: Such as "cuda"; "" for the first GPU if there is one, else the CPU.
    """

    model: str
    revision: str | None = None
    dtype: str = "float32"
    device: str = ""
    _FILE: ClassVar[str]

    def __post_init__(self) -> None:
        """Check the number type."""
        check_choice("dtype", self.dtype, DTYPES)

    @property
    def name(self) -> str:
        """Name of the model."""
        return Path(self.model).name if os.path.isdir(self.model) else self.model

    @functools.cached_property
    def _identity(self) -> str:
        return identify_checkpoint(self.model, self.revision, self._FILE)

    def _load(self, loader: Any, what: str, expected: str, **options: Any) -> Any:
        """What `loader.from_pretrained` returns, on the device or, for a tokenizer, as it is."""
        import torch

        if "@" in self._identity:
            # Load the commit that was identified: the branch may have moved since.
            options["revision"] = self._identity.rpartition("@")[2]
        try:
            loaded = loader.from_pretrained(self.model, trust_remote_code=False, **options)
        except Exception as error:  # the libraries raise errors of many types
            raise ValueError(
                f"{self.model} cannot be loaded as a {what}: {_first_line(error)}. Expected a complete checkpoint "
                f"{expected}"
            ) from error
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return loaded.to(device) if hasattr(loaded, "to") else loaded


@dataclasses.dataclass
class LocalModel(Checkpoint):
    """A causal language model of the transformers library; use one that was tuned to follow instructions.

    Its chat template is used if it has one.

    Attributes:
      temperature: Sampling temperature; 0 for greedy decoding.
      top_p: Nucleus sampling.
      max_output_tokens: Longest answer in tokens.
    """

    dtype: str = "bfloat16"
    temperature: float = 1.0
    top_p: float = 1.0
    max_output_tokens: int = 1024
    most_at_once: int | None = dataclasses.field(default=1, init=False)
    _network: Any = dataclasses.field(default=None, init=False, repr=False)
    _tokenizer: Any = dataclasses.field(default=None, init=False, repr=False)
    _FILE = "config.json"

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values that determine the answer with request and seed; not the device, which can change it slightly."""
        sampling = {name: getattr(self, name) for name in ("temperature", "top_p", "max_output_tokens", "dtype")}
        return {"client": "local", "model": self._identity, **sampling}

    def open(self) -> None:
        """Load tokenizer and weights; a ValueError if torch is missing or the checkpoint cannot be loaded."""
        with require_packages("torch"):
            import torch
            import transformers
        what = ("causal language model", "with tokenizer, weights in safetensors, and an architecture of transformers")
        options = {"use_safetensors": True, "dtype": getattr(torch, self.dtype)}
        self._tokenizer = self._load(transformers.AutoTokenizer, *what)
        self._network = self._load(transformers.AutoModelForCausalLM, *what, **options).eval()

    def complete(self, request: str, seed: int) -> str:
        """The answer of the model; it depends on request and seed only, not on earlier requests.

        A ValueError if request and answer together are longer than the context of the model.
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
        # Sampling uses torch's global random state; fork_rng restores it afterwards.
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            output = self._network.generate(
                **tokens, max_new_tokens=self.max_output_tokens, pad_token_id=padding, **sampling
            )
        return self._tokenizer.decode(output[0, length:], skip_special_tokens=True)


@dataclasses.dataclass
class StableDiffusion(Checkpoint):
    """A Stable Diffusion checkpoint (1.x or 2.x) in diffusers' layout; noise is always drawn on the CPU.

    Attributes:
      steps: Denoising steps.
      guidance: Scale of classifier-free guidance; 7.5 is the default of the pipeline.
      height: Height in pixels; None for the default of the checkpoint.
      width: Width in pixels; None for the default of the checkpoint.
      safety_checker: Whether to use the safety checker of the checkpoint, which blackens images it flags.
      truncate_prompts: Whether to truncate prompts that are too long for the text encoder; else they are refused.
    """

    model: str = "CompVis/stable-diffusion-v1-4"
    steps: int = 50
    guidance: float = 7.5
    height: int | None = None
    width: int | None = None
    safety_checker: bool = True
    truncate_prompts: bool = False
    _pipeline: Any = dataclasses.field(default=None, init=False, repr=False)
    _FILE = "model_index.json"

    def __post_init__(self) -> None:
        """Check the number type and the steps."""
        super().__post_init__()
        check_whole_number("steps", self.steps)

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values that determine an image with prompt and seed; not the device, which can change it slightly."""
        fields = ("steps", "guidance", "height", "width", "safety_checker", "dtype")
        return {"painter": "stable_diffusion", "model": self._identity} | {name: getattr(self, name) for name in fields}

    @property
    def software(self) -> dict[str, str]:
        """Versions of the libraries that compute the images."""
        return {package: importlib.metadata.version(package) for package in ("diffusers", "torch", "transformers")}

    def open(self) -> None:
        """Load the pipeline; a ValueError if a package, the pipeline or its safety checker is missing."""
        with require_packages("torch", "diffusers", "accelerate"):
            import torch
            from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
        options: dict[str, Any] = {"use_safetensors": True, "dtype": getattr(torch, self.dtype)}
        if not self.safety_checker:
            options |= {"safety_checker": None, "requires_safety_checker": False}
        what = ("Stable Diffusion pipeline", "in diffusers' layout, with weights in safetensors")
        pipeline = self._load(StableDiffusionPipeline, *what, **options)
        if self.safety_checker and pipeline.safety_checker is None:
            raise ValueError(f"{self.model} comes without a safety checker: pass safety_checker=False")
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline

    def too_long(self, prompts: Sequence[str]) -> list[int]:
        """Indices of the prompts that are too long for the text encoder."""
        assert self._pipeline is not None, "open() comes first"
        if self.truncate_prompts:
            return []
        tokenizer = self._pipeline.tokenizer
        lengths = [len(ids) for ids in tokenizer(list(prompts), truncation=False, verbose=False)["input_ids"]]
        return [index for index, length in enumerate(lengths) if length > tokenizer.model_max_length]

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image | str]:
        """An image of each prompt, or the reason why there is none.

        The noise of every image depends on its seed only. The images of one call are one batch; their last bits can
        depend on the batch.
        """
        assert self._pipeline is not None, "open() comes first"
        import torch

        output = self._pipeline(
            prompt=list(prompts),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            height=self.height,
            width=self.width,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        )
        flags = output.nsfw_content_detected or [False] * len(seeds)
        # An overflow in half precision also gives a black image.
        return [
            "blackened by the safety checker" if flag else "of one colour" if is_blank(image) else image
            for image, flag in zip(output.images, flags, strict=True)
        ]


def identify_checkpoint(source: str | os.PathLike[str], revision: str | None, file: str) -> str:
    """`sha256:...` of the contents of a directory, or `<id>@<commit>` of a repository on the Hub.

    Of a repository only `file` is fetched, a small file of the checkpoint. A ValueError says that there is neither a
    directory with that file nor such a repository, or that a revision is given for a directory.
    """
    directory = Path(source).expanduser()
    if directory.is_dir():
        if revision:
            raise ValueError(f"revision {revision!r} was given, but {source} is a local directory, which has none")
        if not (directory / file).is_file():
            raise ValueError(f"{source} has no {file}; expected a checkpoint directory as its publishers laid it out")
        files = sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix in _SUFFIXES)
        contents = {path.relative_to(directory).as_posix(): file_hash(path) for path in files}
        return f"sha256:{canonical_hash(contents)}"
    text = str(source)
    if text.startswith(("/", ".", "~")) or text.count("/") != 1:
        raise ValueError(f"there is no directory {source}; expected a checkpoint directory, or a Hub id (owner/name)")
    try:
        path = Path(huggingface_hub.hf_hub_download(text, file, revision=revision or None))
    except Exception as error:  # the Hub's client passes on the errors of its HTTP library
        raise ValueError(
            f"{text!r} is no local directory, and {file} of it cannot be fetched from the Hub: {_first_line(error)}. "
            "Check the spelling, give a directory, or download it on a machine with network access"
        ) from error
    # The cache keeps a file under snapshots/<commit>/<path in the repository>.
    return f"{text}@{path.parents[file.count('/')].name}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
