"""Sizes of models from a register and from directories, by hand."""

import json

import pytest

from vla.experiments.sizes import CAPTION_TOKENS, Size, size


def write(folder, weights=b"12345678", **config):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights)
    return str(folder)


def test_work_of_one_stimulus_by_hand():
    # Two flops a parameter and token; of attention, two products of tokens by tokens by width in each block.
    assert Size(depth=3, width=8, parameters=100.0, tokens=5, bytes=0.0).flops == 2 * 100 * 5 + 3 * 2 * 2 * 5 * 5 * 8


def test_a_published_language_model_is_counted_without_its_vocabulary():
    found = size("bigscience/bloomz-560m", "language")
    assert (found.depth, found.width, found.tokens) == (24, 1024, CAPTION_TOKENS)
    assert found.parameters == 559214592 - 250880 * 1024
    # Which is held in memory all the same.
    assert found.embedding == 250880 * 1024
    # It is published in float16.
    assert found.bytes == pytest.approx(2 * 559214592, rel=0.01)


@pytest.mark.parametrize(
    ("source", "tokens"),
    [
        ("facebook/dinov2-base", 16 * 16 + 1),
        ("facebook/dino-vitb16", 14 * 14 + 1),
        ("mine=facebook/dino-vitb16", 197),
        ("timm/vit_base_patch14_dinov2.lvd142m", 37 * 37 + 1),
        ("openai/clip-vit-base-patch32", 7 * 7 + 1),
        ("timm/vit_base_patch16_224.augreg_in1k", 197),
    ],
)
def test_images_are_cut_into_patches(source, tokens):
    found = size(source, "vision")
    assert (found.depth, found.width, found.tokens) == (12, 768, tokens)
    assert 80e6 < found.parameters < 90e6


def test_a_directory_is_read_by_its_config(tmp_path):
    llama = write(tmp_path / "llama", hidden_size=64, num_hidden_layers=5, model_type="llama")
    assert size(llama, "language") == Size(5, 64, 12.0 * 5 * 64**2, CAPTION_TOKENS, 8.0)
    bloom = write(tmp_path / "bloom", n_embed=32, n_layer=4, model_type="bloom")
    assert size(bloom, "language") == Size(4, 32, 12.0 * 4 * 32**2, CAPTION_TOKENS, 8.0)
    gpt = write(tmp_path / "gpt", n_embd=32, n_layer=4, vocab_size=100, model_type="gpt2")
    assert size(gpt, "language") == Size(4, 32, 12.0 * 4 * 32**2, CAPTION_TOKENS, 8.0, 3200.0)
    (tmp_path / "gpt" / "model.safetensors").unlink()
    for i, count in enumerate((3, 4)):
        (tmp_path / "gpt" / f"pytorch_model-0000{i + 1}-of-00002.bin").write_bytes(bytes(count))
    size.cache_clear()
    assert size(gpt, "language").bytes == 7.0
    vit = write(tmp_path / "vit", hidden_size=64, num_hidden_layers=2, image_size=64, patch_size=8)
    assert size(vit, "vision").tokens == 65
    dino = write(tmp_path / "dino", hidden_size=64, num_hidden_layers=2, image_size=518, patch_size=14,
                 model_type="dinov2")  # fmt: skip
    assert size(dino, "vision").tokens == 257


def test_what_is_not_known_or_not_computed_has_no_size(tmp_path):
    assert size("nobody/nothing", "vision") is None
    assert size("saved/{view}.npz", "vision") is None
    assert size(write(tmp_path / "odd", layers=3), "language") is None
