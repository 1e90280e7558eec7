"""CLIP's embeddings and text tower against Hugging Face on torch."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.checkpoints import WORDS, edit_config, write_language
from tests.models.language_reference import decoder_layers
from tests.models.reference import TOLERANCE, distance, worst
from tests.models.vision_reference import tower_layers
from tests.vision_checkpoints import write_vision_family
from vla.models import load_clip, load_model
from vla.models.fields import read_json

TEXTS = ["a dog", "two small red boat sails on the water near old grass", "old", "the cat <|endoftext|> sleeps", "a"]


def images_of(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(28, 28), (50, 31), (40, 90)]
    return [
        Image.fromarray(rng.integers(0, 256, (*sizes[i % 3][::-1], 3), dtype=np.uint8), "RGB") for i in range(count)
    ]


def theirs_of(reference: Any, clip: Any, images: list[Image.Image], texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hugging Face's projected embeddings; texts padded with the end token, as CLIP's own processor pads them."""
    pixels = torch.from_numpy(np.stack(clip.vision.preprocess(images)))
    ids = [clip.text.preprocess([text])[0] for text in texts]
    end = len(WORDS) + 2
    padded = torch.tensor([[*row, *[end] * (max(map(len, ids)) - len(row))] for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (padded.shape[1] - len(row)) for row in ids])
    with torch.no_grad():
        image = reference.get_image_features(pixel_values=pixels).pooler_output
        text = reference.get_text_features(input_ids=padded, attention_mask=mask).pooler_output
    return image.numpy(), text.numpy()


@pytest.mark.parametrize("end", [len(WORDS) + 2, 2])
def test_embeddings_are_hugging_faces(end, tmp_path):
    # 2 is what the first conversions named, and means the highest id
    reference = write_vision_family(tmp_path, "clip", text={"eos_token_id": end})
    clip = load_clip(tmp_path)
    images = images_of(5)
    image, text = theirs_of(reference, clip, images, TEXTS)
    assert image.shape == text.shape == (5, 10) and clip.width == 10
    assert distance(clip.image_embeddings(images), image) < TOLERANCE
    assert distance(clip.text_embeddings(TEXTS), text) < TOLERANCE
    # not normalised, float32, and alone as in company
    assert np.ptp(np.linalg.norm(image, axis=1)) > 0.1
    assert clip.image_embeddings(images[:1]).dtype == clip.text_embeddings(TEXTS[:1]).dtype == np.float32
    assert distance(clip.text_embeddings(TEXTS[3:4]), text[3:4]) < TOLERANCE
    assert clip.image_embeddings([]).shape == clip.text_embeddings([]).shape == (0, 10)


def test_another_end_token_is_seen(tmp_path):
    reference = write_vision_family(tmp_path, "clip")
    clip = load_clip(tmp_path)
    _, text = theirs_of(reference, clip, images_of(1), TEXTS)
    clip._end = len(WORDS) + 1  # the first token, which all texts share
    assert distance(clip.text_embeddings(TEXTS), text) > 0.1


def test_a_long_text_is_refused_or_cut_before_its_end_token(tmp_path):
    write_vision_family(tmp_path, "clip")
    clip = load_clip(tmp_path)
    long, cut = " ".join(["dog"] * 30), " ".join(["dog"] * 18)
    with pytest.raises(ValueError, match=r"caption 1 \('dog .* has 32 tokens, but the model reads 20 at most"):
        clip.text_embeddings(["a", long])
    assert np.array_equal(clip.text_embeddings([long], truncate=True), clip.text_embeddings([cut]))


def test_the_text_tower_is_a_language_model(tmp_path):
    reference = write_vision_family(tmp_path, "clip", text={"hidden_act": "gelu", "num_hidden_layers": 3})
    text = load_model(tmp_path, tower="text")
    assert text.modality == "language" and text.max_length == 20
    assert text.name == f"{tmp_path.name}-text" and load_model(tmp_path).name == tmp_path.name
    tokens = np.random.default_rng(0).integers(0, len(WORDS) + 3, (3, 20)).astype(np.int32)
    body = reference.text_model
    theirs = tower_layers(body, body.encoder.layers, body.final_layer_norm, input_ids=torch.from_numpy(tokens).long())
    assert set(theirs) == set(text.layer_names)
    assert worst(decoder_layers(text, tokens), theirs) < TOLERANCE
    assert worst(decoder_layers(text, tokens[:, ::-1].copy()), theirs) > 10 * TOLERANCE


def test_bfloat16_is_no_further_off_than_torchs(tmp_path):
    reference = write_vision_family(tmp_path, "clip", dtype=torch.bfloat16, text={"hidden_size": 64})
    exact, rounded = load_clip(tmp_path), load_clip(tmp_path, "bfloat16")
    images = images_of(6)
    reference = reference.to(torch.bfloat16)
    pixels = torch.from_numpy(np.stack(exact.vision.preprocess(images))).to(torch.bfloat16)
    with torch.no_grad():
        theirs = reference.get_image_features(pixel_values=pixels).pooler_output.float().numpy()
    right = exact.image_embeddings(images)
    off = np.linalg.norm(rounded.image_embeddings(images) - right)
    assert 0 < off < 1.2 * np.linalg.norm(theirs - right)


def test_fingerprints_tell_weights_dtypes_and_towers_apart(tmp_path):
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        write_vision_family(tmp_path / name, "clip", seed=seed)
    a, b, c = (load_clip(tmp_path / name) for name in "abc")
    assert a.fingerprint == b.fingerprint
    assert len({a.fingerprint, c.fingerprint, load_clip(tmp_path / "a", "bfloat16").fingerprint}) == 3
    assert a.vision.fingerprint != a.text.fingerprint


def test_what_is_no_clip_is_refused(tmp_path):
    write_language(tmp_path / "llama")
    with pytest.raises(ValueError, match="of type 'llama'; expected 'clip'"):
        load_clip(tmp_path / "llama")
    write_vision_family(tmp_path / "clip", "clip", text={"eos_token_id": 5})
    with pytest.raises(ValueError, match="gives text 0 no end token 5"):
        load_clip(tmp_path / "clip").text_embeddings(["a dog"])
    edit_config(tmp_path / "clip", model_type="clip_vision_model")
    with pytest.raises(ValueError, match="of type 'clip_vision_model'; expected 'clip'"):
        load_clip(tmp_path / "clip")


def test_both_configs_are_read_without_the_fields_to_ignore(tmp_path):
    write_vision_family(tmp_path, "clip")
    images = images_of(1)
    embeddings = load_clip(tmp_path).image_embeddings(images), load_clip(tmp_path).text_embeddings(TEXTS)
    values = read_json(tmp_path / "config.json")
    edit_config(tmp_path, vision_config={**values["vision_config"], "is_causal": False})
    with pytest.raises(ValueError, match="ignore_fields=vision_config.is_causal "):
        load_clip(tmp_path)
    clip = load_clip(tmp_path, ignore_fields=("vision_config.is_causal",))
    assert np.array_equal(clip.image_embeddings(images), embeddings[0])
    assert np.array_equal(clip.text_embeddings(TEXTS), embeddings[1])
