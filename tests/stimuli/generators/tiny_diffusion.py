"""A tiny random Stable Diffusion pipeline, saved by the diffusers library's own classes, made offline."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def clip_tokenizer(directory: Path) -> CLIPTokenizer:
    """A tokenizer of single letters with CLIP's ends and its context of 77 tokens; made of files in `directory`."""
    directory.mkdir(parents=True)
    tokens = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (directory / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"), model_max_length=77)


def write_pipeline(directory: Path, *, threshold: float | None = 2.0) -> None:
    """Write a pipeline that draws 32 x 32 pixels.

    Args:
      directory: Made if need be.
      threshold: Cosine above which the safety checker blackens a picture: 2 never, -2 always; None for a pipeline
        without a safety checker.
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=16, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, norm_num_groups=2, attention_head_dim=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16), in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=2, sample_size=32,
    )  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**text, "image_size": 28, "patch_size": 14}
    tokenizer = clip_tokenizer(directory / "made")
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "vocab_size")}
    encoder = CLIPTextModel(CLIPTextConfig(**text, **ends, max_position_embeddings=77))
    checker = None
    if threshold is not None:
        checker = StableDiffusionSafetyChecker(
            CLIPConfig(text_config={**text, **ends}, vision_config=vision, projection_dim=16)
        )
        with torch.no_grad():
            checker.concept_embeds_weights.fill_(threshold)
            checker.special_care_embeds_weights.fill_(2.0)
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=PNDMScheduler(skip_prk_steps=True),
        safety_checker=checker, feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=28),
        requires_safety_checker=checker is not None,
    )  # fmt: skip
    pipeline.save_pretrained(directory)
