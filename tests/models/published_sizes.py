"""How many parameters a checkpoint of the register has, by Hugging Face's own classes, without any weight."""

import torch
import transformers
from transformers.core_model_loading import revert_weight_conversion

from vla.models.catalogue import Checkpoint

# What was published, where it is more than a language model with its head.
_CLASSES = {
    "clip": "CLIPModel",
    "deit": "DeiTForImageClassificationWithTeacher",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
    "siglip": "SiglipModel",
    "vit": "ViTModel",
    "vit_mae": "ViTMAEForPreTraining",
}


def published_shapes(checkpoint: Checkpoint) -> dict[str, torch.Size]:
    """Shapes of all its parameters by their names in the file, tied ones once."""
    fields = dict(checkpoint.config)
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    found = _CLASSES.get(checkpoint.family)
    options = {"add_pooling_layer": False} if checkpoint.id == "facebook/dino-vitb16" else {}
    with torch.device("meta"):
        if found is None:
            model = transformers.AutoModelForCausalLM.from_config(config)
        else:
            model = getattr(transformers, found)(config, **options)
    model.tie_weights()
    in_file = revert_weight_conversion(model, dict(model.named_parameters()))
    return {name: weight.shape for name, weight in in_file.items()}
