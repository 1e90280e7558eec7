"""CLIP Score of our own CLIP against Hugging Face's on the same pairs, random weights on real photographs."""

import csv
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.checkpoints import sharpen
from tests.models.real_data import real_data
from tests.stimuli.generators.tiny_diffusion import clip_tokenizer
from vla.activations.clip_score import clip_score
from vla.models import load_clip
from vla.records import Dataset, Item
from vla.stimuli import best_and_worst


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Hugging Face's model, tokenizer and image processor, and where they are saved."""
    directory = tmp_path_factory.mktemp("clip")
    tokenizer = clip_tokenizer(directory / "made")
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "vocab_size")}
    shape = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 3}
    config = CLIPConfig(
        text_config={**shape, **ends, "max_position_embeddings": 77, "pad_token_id": ends["eos_token_id"]},
        vision_config={**shape, "image_size": 56, "patch_size": 14},
        projection_dim=16,
        attn_implementation="eager",
    )
    model = CLIPModel(config).eval()
    parts = (model.vision_model, model.visual_projection, model.text_model, model.text_projection)
    # From these seeds on, cosines of photographs are above 0, where scores differ.
    for seed, part in enumerate(parts, start=30):
        sharpen(part, seed)
    images = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    for part in (model, tokenizer, images):
        part.save_pretrained(directory)
    return directory, model, tokenizer, images


def reference(checkpoint, item, caption, truncate=False):
    """2.5 * max(cos, 0) as the paper has it, by Hugging Face's own classes."""
    _, model, tokenizer, images = checkpoint
    with torch.inference_mode():
        pixels = images(Image.open(item.image).convert("RGB"), return_tensors="pt")
        tokens = tokenizer("A photo depicts " + caption, return_tensors="pt", truncation=truncate)
        output = model(**pixels, **tokens)
        cosine = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds).double().item()
    return 2.5 * max(cosine, 0)


def test_scores_are_those_of_hugging_face(checkpoint, tmp_path):
    generator = np.random.default_rng(0)
    items = []
    for i, size in enumerate([(80, 60), (40, 90), (56, 56)]):
        pixels = generator.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).resize((size[1] * 2, size[0] * 2)).save(tmp_path / f"{i}.png")
        items.append(Item(f"i{i}", tmp_path / f"{i}.png", ("a dog", "red cats run far away", "x")[: 2 + i % 2]))
    world = Dataset("world", tuple(items))
    scores = clip_score(load_clip(checkpoint[0]), world, batch_size=2)
    for item in world.items:
        for place, caption in enumerate(item.captions):
            assert scores.sel(item=item.id, caption=place).item() == pytest.approx(
                reference(checkpoint, item, caption), rel=1e-5, abs=1e-5
            )
    assert np.nanstd(scores) > 0.05, "the weights must make differences visible"


def test_a_caption_beyond_the_context_is_refused_or_cut_as_hugging_face_cuts_it(checkpoint, tmp_path):
    Image.new("RGB", (70, 60), (200, 30, 90)).save(tmp_path / "a.png")
    item = Item("long", tmp_path / "a.png", ("many words " * 20,))
    world = Dataset("world", (item,))
    clip = load_clip(checkpoint[0])
    with pytest.raises(ValueError, match="item 'long'.*77.*truncate=True"):
        clip_score(clip, world)
    expected = reference(checkpoint, item, item.captions[0], truncate=True)
    assert clip_score(clip, world, truncate=True).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_real_photographs_and_captions(checkpoint, tmp_path):
    folder = real_data("data", "flickr8k")
    with (folder / "captions.txt").open(encoding="utf-8", newline="") as file:
        rows = list(itertools.islice(csv.reader(file), 1, 1 + 4 * 5))
    # Single letters make long texts: the captions' beginnings fit the context.
    items = tuple(
        Item(image, folder / "Images" / image, tuple(caption[:40] for _, caption in group))
        for image, group in itertools.groupby(rows, key=lambda row: row[0])
    )
    world = Dataset("flickr8k", items)
    scores = clip_score(load_clip(checkpoint[0]), world, cache=tmp_path)
    expected = np.array([[reference(checkpoint, item, caption) for caption in item.captions] for item in items])
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    assert (expected.max(axis=1) - expected.min(axis=1)).min() > 0.05, "the weights must make differences visible"
    best, worst = best_and_worst(world, scores)
    assert best.stimuli == tuple(item.captions[row.argmax()] for item, row in zip(items, expected, strict=True))
    assert best.ids == worst.ids == world.ids
