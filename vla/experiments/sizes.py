"""How large a model is, known without its weights: from a directory, or from the register of checkpoints."""

import dataclasses
import functools
import json
import re
from pathlib import Path

from vla.experiments.naming import named
from vla.experiments.saved import is_saved
from vla.models.catalogue import Checkpoint, checkpoints
from vla.records import Modality

# Tokens of a caption with its opening token: the mean of Flickr8k's human captions under LLaMA's tokenizer is 15.
CAPTION_TOKENS = 15
# Hugging Face's DINOv2 processor cuts images to this side, whatever the model was trained on.
_CUT = 224
# What configs call the width: those of BLOOM's and of GPT-2's kind have names of their own.
_WIDTHS = ("hidden_size", "n_embed", "n_embd")


@dataclasses.dataclass(frozen=True)
class Size:
    """What work and room a model asks for.

    Attributes:
      depth: Blocks.
      width: Units of a layer.
      parameters: In the blocks.
      tokens: Of one stimulus.
      bytes: Of the published weights.
      embedding: Parameters of the table of token embeddings, which is held in memory and not multiplied with.
    """

    depth: int
    width: int
    parameters: float
    tokens: int
    bytes: float
    embedding: float = 0.0

    @property
    def flops(self) -> float:
        """Of one stimulus through all blocks: two per parameter and token, and attention."""
        return 2 * self.parameters * self.tokens + 4 * self.depth * self.tokens**2 * self.width


@functools.cache
def size(given: str, modality: Modality) -> Size | None:
    """The size of a model as it stands in a study; None where nothing is known, or where nothing is to be computed."""
    _, source = named(given)
    if is_saved(given):
        return None
    known = {one.id: one for one in checkpoints()}
    if source in known:
        one = known[source]
        vocabulary = one.config.get("vocab_size", 0) * one.width
        side = _CUT if one.family.startswith("dinov2") else one.input
        tokens = (side // _patch(one)) ** 2 + 1 if modality == "vision" else CAPTION_TOKENS
        blocks = 12 * one.depth * one.width**2
        # Of two towers the vision tower alone is read.
        parameters = float(blocks if "vision_config" in one.config else max(one.parameters - vocabulary, blocks))
        return Size(one.depth, one.width, parameters, tokens, float(one.disk_bytes), float(vocabulary))
    config = Path(source).expanduser() / "config.json"
    if not config.is_file():
        return None
    values = json.loads(config.read_text(encoding="utf-8"))
    depth = values.get("num_hidden_layers") or values.get("n_layer") or 0
    width = next((values[name] for name in _WIDTHS if values.get(name)), 0)
    if not depth or not width:
        return None
    tokens = CAPTION_TOKENS
    if modality == "vision":
        # Published DINOv2 checkpoints state the side that they were trained on last, and are shown smaller images.
        side = values.get("image_size", 224)
        side = min(side, _CUT) if str(values.get("model_type", "")).startswith("dinov2") else side
        tokens = (side // values.get("patch_size", 16)) ** 2 + 1
    files = [path.stat().st_size for path in config.parent.glob("*.safetensors")]
    files = files or [path.stat().st_size for path in config.parent.glob("pytorch_model*.bin")]
    vocabulary = float(width * (values.get("vocab_size") or 0)) if modality == "language" else 0.0
    return Size(depth, width, 12.0 * depth * width**2, tokens, float(sum(files)), vocabulary)


def _patch(one: Checkpoint) -> int:
    """Side of the patches of a registered vision model; timm's say it by their name alone."""
    said = one.config.get("patch_size") or one.config.get("vision_config", {}).get("patch_size")
    named = re.search(r"patch(\d+)", one.id)
    return said or (int(named[1]) if named else 16)
