"""Hugging Face's own class of each small model."""

from transformers import BloomForCausalLM, CLIPModel, Dinov2Model, LlamaForCausalLM, ViTForImageClassification

CLASSES = {
    "micro-bloom": BloomForCausalLM,
    "micro-clip": CLIPModel,
    "micro-dinov2": Dinov2Model,
    "micro-llama": LlamaForCausalLM,
    "micro-vit": ViTForImageClassification,
}
