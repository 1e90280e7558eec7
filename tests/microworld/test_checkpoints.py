"""Hugging Face's own classes load the untrained checkpoints whole."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from transformers import AutoImageProcessor, AutoTokenizer, Dinov2Model, LlamaForCausalLM

from vla.microworld import describe, scene, write_untrained_checkpoints

CAPTIONS = [caption.text for index in range(60) for caption in describe(scene(0, index))]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return write_untrained_checkpoints(tmp_path_factory.mktemp("models") / "untrained", CAPTIONS, seed=0)


def test_nothing_missing_and_nothing_left_over(checkpoints):
    for loader, folder in ((Dinov2Model, checkpoints.vision), (LlamaForCausalLM, checkpoints.language)):
        model, told = loader.from_pretrained(folder, output_loading_info=True)
        assert not any(told.values()), told
        assert (model.config.hidden_size, model.config.num_hidden_layers) == (96, 6)
        assert (folder / "config.json").is_file()


def test_image_processor_keeps_64_pixels(checkpoints):
    processor = AutoImageProcessor.from_pretrained(checkpoints.vision)
    pixels = processor(Image.new("RGB", (64, 64), (255, 0, 0)), return_tensors="np")["pixel_values"]
    assert pixels.shape == (1, 3, 64, 64)
    # ImageNet's means and deviations, as its standard recipe prints them.
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    np.testing.assert_allclose(pixels[0, :, 30, 30], expected, rtol=1e-5)


def test_tokenizer_puts_bos_first_and_reads_any_text(checkpoints):
    tokenizer = AutoTokenizer.from_pretrained(checkpoints.language)
    ids = tokenizer(CAPTIONS[0])["input_ids"]
    config = LlamaForCausalLM.config_class.from_pretrained(checkpoints.language)
    assert (ids[0], ids.count(tokenizer.bos_token_id)) == (config.bos_token_id, 1)
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<s>", config.bos_token_id)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("</s>", config.eos_token_id)
    assert len(tokenizer) == config.vocab_size
    for text in (CAPTIONS[0], "Où est 火, \n\t{}?"):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    # Most words of the world are single tokens: <s>, the words, the full stop, and some pieces of rare words.
    assert len(CAPTIONS[0].split()) + 2 <= len(ids) <= 1.5 * len(CAPTIONS[0].split())


def test_scale_is_sensible(checkpoints):
    vision = Dinov2Model.from_pretrained(checkpoints.vision)
    language = LlamaForCausalLM.from_pretrained(checkpoints.language)
    torch.manual_seed(0)
    with torch.no_grad():
        seen = vision(torch.randn(2, 3, 64, 64), output_hidden_states=True).hidden_states
        read = language(torch.randint(0, 200, (2, 9)), output_hidden_states=True).hidden_states
    for states in (seen, read):
        assert all(0.3 < float(state.std()) < 10 for state in states)
        # The two items do not collapse into one.
        assert float((states[-1][0] - states[-1][1]).std()) > 0.1


def test_seeded(tmp_path, checkpoints):
    def digests(paths):
        files = [file for folder in paths for file in sorted(folder.iterdir())]
        return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]

    again = write_untrained_checkpoints(tmp_path / "a", CAPTIONS, seed=0)
    assert digests(again) == digests(checkpoints)
    other = write_untrained_checkpoints(tmp_path / "b", CAPTIONS, seed=1)
    for one, two in zip(again, other, strict=True):
        one, two = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
        assert all(not np.array_equal(one[name], two[name]) for name in one if one[name].std() > 0)


def test_used_again_or_refused(checkpoints):
    folder = checkpoints.vision.parent
    before = (checkpoints.vision / "model.safetensors").stat().st_mtime_ns
    assert write_untrained_checkpoints(folder, CAPTIONS, seed=0) == checkpoints
    assert (checkpoints.vision / "model.safetensors").stat().st_mtime_ns == before
    for captions, seed in ((CAPTIONS, 1), (CAPTIONS[1:], 0)):
        with pytest.raises(ValueError, match="Name another folder, or delete this one"):
            write_untrained_checkpoints(folder, captions, seed)


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="no captions given"):
        write_untrained_checkpoints(tmp_path / "x", [], seed=0)
    with pytest.raises(ValueError, match="seed=-1 cannot be used"):
        write_untrained_checkpoints(tmp_path / "x", CAPTIONS, seed=-1)
