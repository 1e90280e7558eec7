"""How large a model is, known without its weights: from a directory, or from the register of checkpoints."""

import dataclasses
import functools
import json
from pathlib import Path

from vla.experiments.naming import named
from vla.experiments.saved import is_saved
from vla.models.catalogue import checkpoints
from vla.records import Modality

# Tokens of a caption with its opening token: the mean of Flickr8k's human captions under LLaMA's tokenizer is 15.
CAPTION_TOKENS = 15
# Hugging Face's DINOv2 processor cuts images to this side, whatever the model was trained on.
_CUT = 224


@dataclasses.dataclass(frozen=True)
class Size:
    """What work and room a model asks for.

    Attributes:
      depth: Blocks.
      width: Units of a layer.
      parameters: In the blocks.
      tokens: Of one stimulus.
      bytes: Of the published weights.
    """

    depth: int
    width: int
    parameters: float
    tokens: int
    bytes: float

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
        patch = one.config.get("patch_size", 16)
        side = _CUT if one.family.startswith("dinov2") else one.input
        tokens = (side // patch) ** 2 + 1 if modality == "vision" else CAPTION_TOKENS
        parameters = float(max(one.parameters - vocabulary, 12 * one.depth * one.width**2))
        return Size(one.depth, one.width, parameters, tokens, float(one.disk_bytes))
    config = Path(source).expanduser() / "config.json"
    if not config.is_file():
        return None
    values = json.loads(config.read_text(encoding="utf-8"))
    depth = values.get("num_hidden_layers") or values.get("n_layer") or 0
    width = values.get("hidden_size") or values.get("n_embed") or 0
    if not depth or not width:
        return None
    tokens = CAPTION_TOKENS
    if modality == "vision":
        # Published DINOv2 checkpoints state the side that they were trained on last, and are shown smaller images.
        side = values.get("image_size", 224)
        side = min(side, _CUT) if str(values.get("model_type", "")).startswith("dinov2") else side
        tokens = (side // values.get("patch_size", 16)) ** 2 + 1
    files = [path.stat().st_size for path in config.parent.glob("*.safetensors")]
    return Size(depth, width, 12.0 * depth * width**2, tokens, float(sum(files)))
