"""From captions to token ids, from photographs to pixels, by transformers' own tokenizers and image processors.

Axes: T tokens, C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from vla.models.decoder import DecoderConfig
from vla.models.dinov3_images import dinov3_transform
from vla.models.families.family import TokenizerClass
from vla.models.fields import read_json
from vla.models.timm_images import timm_transform
from vla.models.vision_encoder import VisionConfig
from vla.records import listed

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")

# Any one of these makes a tokenizer; the others only say more about it.
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")

# How sentencepiece writes a blank.
_BLANK = "\u2581"

# What stands for whatever a tokenizer.json says, and says nothing of a vocabulary without one.
_ANY_CLASS = ("", "PreTrainedTokenizer", "TokenizersBackend")


class Tokenizer:
    """Captions to token ids, with the special tokens that the tokenizer adds by default.

    Attributes:
      bos: Id of the token that may open a sequence, None where there is none.
    """

    def __init__(self, directory: Path, config: DecoderConfig, fallback: TokenizerClass) -> None:
        """Load the tokenizer that lies in `directory`.

        Args:
          directory: Of the tokenizer.
          config: Of the model that it is for.
          fallback: The class for a vocabulary that comes without a word about its class.

        Raises:
          ValueError: There is none, or transformers cannot read it.
        """
        import transformers  # costs seconds, which only those who load a decoder need to pay

        _expect(directory, _VOCABULARIES, "tokenizer")
        chosen: Any = transformers.AutoTokenizer
        options: dict[str, Any] = {}
        said = directory / "tokenizer_config.json"
        fields = read_json(said) if said.is_file() else {}
        if not fields and (directory / "tokenizer.json").is_file():
            raise ValueError(
                f"no tokenizer_config.json beside tokenizer.json in {directory}: it says which token opens a text; "
                "download it too, or name a directory or Hub id that has both as processor="
            )
        if not (directory / "tokenizer.json").is_file():
            # A tokenizer.json says everything itself; a bare vocabulary AutoTokenizer reads as something that it is
            # not, with other ids and without the opening token, where no class is named or it mistrusts the class.
            name = str(fields.get("tokenizer_class") or "").removesuffix("Fast")
            name = fallback[0] if name in _ANY_CLASS else name
            chosen = getattr(transformers, name, chosen)
            if name == fallback[0]:
                options = {option: value for option, value in fallback[1].items() if option not in fields}
        try:
            self._tokenizer: Any = chosen.from_pretrained(
                str(directory), trust_remote_code=False, local_files_only=True, **options
            )
        except Exception as error:  # the readers behind it raise whatever their libraries raise
            raise ValueError(f"transformers cannot read the tokenizer in {directory}: {error}") from error
        self._normalised: Callable[[str], str] = str
        if not (directory / "tokenizer.json").is_file() and (directory / "tokenizer.model").is_file():
            self._normalised = _normaliser(directory / "tokenizer.model")
        self._config = config
        self._directory = directory
        self.bos: int | None = self._tokenizer.bos_token_id
        # What it adds to any text: a token that opens it, one that ends it, or none.
        self._nothing: list[int] = self._tokenizer("", padding=False, truncation=False)["input_ids"]

    def __call__(self, captions: Sequence[Any], truncate: bool = False) -> list[Int[np.ndarray, "T"]]:
        """Token ids of each caption as int32, not padded; cut to what the model reads if `truncate`.

        Raises:
          ValueError: A caption is not text, has no tokens of its own, is too long, or has an id that the model lacks.
        """
        for i, caption in enumerate(captions):
            if not isinstance(caption, str):
                raise ValueError(f"caption {i} is {type(caption).__name__}; expected str")
        if not captions:
            return []
        cut = {"max_length": self._config.length} if truncate else {}
        texts = [self._normalised(caption) for caption in captions]
        encoded = self._tokenizer(texts, padding=False, truncation=truncate, verbose=False, **cut)["input_ids"]
        return [self._checked(i, caption, ids) for i, (caption, ids) in enumerate(zip(captions, encoded, strict=True))]

    def _checked(self, i: int, caption: str, ids: list[int]) -> Int[np.ndarray, "T"]:
        """The ids of one caption as an array."""
        shown = f"caption {i} ({caption[:60]!r}{' ...' if len(caption) > 60 else ''})"
        if not caption.strip() or ids == self._nothing:
            raise ValueError(f"{shown} has no tokens; drop the item or give it a caption")
        if len(ids) > self._config.length:
            raise ValueError(
                f"{shown} has {len(ids)} tokens, but the model reads {self._config.length} at most; shorten it"
            )
        if max(ids) >= self._config.vocabulary:
            raise ValueError(
                f"{shown} has token id {max(ids)}, but the model knows ids below {self._config.vocabulary}: the "
                f"tokenizer in {self._directory} is not this model's; give the right one as processor="
            )
        return np.array(ids, np.int32)


def _normaliser(path: Path) -> Callable[[str], str]:
    """What a sentencepiece model does to a text before it cuts it, which transformers leaves out.

    OpenLLaMA's merges blanks, as do all that were trained with sentencepiece's defaults; LLaMA's does nothing.
    """
    import sentencepiece  # which transformers has loaded by now

    try:
        pieces: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError):  # another kind of vocabulary that is called so
        return str
    # The blank that opens every text is not the text's own.
    opening = len(pieces.normalize("a")) - 1
    return lambda text: pieces.normalize(text)[opening:].replace(_BLANK, " ")


class ImageProcessor:
    """Photographs to pixels as the model was trained to see them."""

    def __init__(self, directory: Path, config: VisionConfig) -> None:
        """Load the image processor that lies in `directory`.

        Raises:
          ValueError: There is none, or transformers cannot read it.
        """
        self._config = config
        self._transform: Callable[[Image.Image], np.ndarray] | None = dinov3_transform(directory)
        if not any((directory / name).is_file() for name in IMAGE_PROCESSOR_FILES):
            self._transform = timm_transform(directory)
        if self._transform is not None:
            return
        from transformers import AutoImageProcessor  # costs seconds, as above

        for file in _expect(directory, IMAGE_PROCESSOR_FILES, "image processor"):
            read_json(file)
        try:
            # Always by Pillow: torchvision, where it is installed, resizes to other numbers.
            self._processor: Any = AutoImageProcessor.from_pretrained(
                str(directory), trust_remote_code=False, local_files_only=True, backend="pil"
            )
        except Exception as error:  # as above
            said = (str(error).strip() or type(error).__name__).partition(". ")[0].splitlines()[0]
            raise ValueError(
                f"transformers cannot read the image processor in {directory}: {said}. Download it again, or give "
                "another as processor="
            ) from error

    def __call__(self, images: Sequence[Any]) -> list[Float[np.ndarray, "C H W"]]:
        """Pixels of each image as float32, each in its own size.

        Raises:
          ValueError: Something is no RGB image, or comes out in a form that the model cannot take.
        """
        return [self._pixels(i, image) for i, image in enumerate(images)]

    def _pixels(self, i: int, image: Any) -> Float[np.ndarray, "C H W"]:
        """The pixels of one image."""
        if not isinstance(image, Image.Image) or image.mode != "RGB":
            given = f"a PIL image of mode {image.mode}" if isinstance(image, Image.Image) else type(image).__name__
            raise ValueError(f"image {i} is {given}; expected a PIL image of mode RGB")
        try:
            if self._transform is None:
                pixels = np.asarray(self._processor(image, return_tensors="np")["pixel_values"][0], np.float32)
            else:
                pixels = self._transform(image)
        except Exception as error:  # as above
            raise ValueError(f"the image processor cannot take image {i}, {image.size} pixels: {error}") from error
        C, P = self._config.channels, self._config.patch
        if pixels.ndim != 3 or pixels.shape[0] != C or min(pixels.shape[1:]) < P:
            raise ValueError(
                f"the image processor makes {list(pixels.shape)} of image {i}, but the model takes [{C}, H, W] with "
                f"H and W of at least {P}: the processor is not this model's; give the right one as processor="
            )
        return pixels


def _expect(directory: Path, names: Sequence[str], what: str) -> list[Path]:
    """Those of the files that are there; refuse a directory that has none of them."""
    files = [directory / name for name in names if (directory / name).is_file()]
    if not files:
        raise ValueError(
            f"no {what} in {directory}: expected {' or '.join(names)}; found "
            f"{listed(sorted(path.name for path in directory.iterdir()))}. Name a directory or Hub id that has it "
            "as processor="
        )
    return files
