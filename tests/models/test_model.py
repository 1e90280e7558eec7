"""A loaded model: its facts, its readouts, and the batches it refuses."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from tests.checkpoints import write_language, write_tokenizer, write_vision
from vla.models import Model, load_model


@pytest.fixture(scope="module")
def vision(tmp_path_factory) -> Model:
    directory = tmp_path_factory.mktemp("vision") / "tiny-dinov2"
    write_vision(directory)
    return load_model(directory)


@pytest.fixture(scope="module")
def language(tmp_path_factory) -> Model:
    directory = tmp_path_factory.mktemp("language") / "tiny-llama"
    write_language(directory)
    return load_model(directory)


PIXELS = np.random.default_rng(0).normal(size=(2, 3, 28, 28)).astype(np.float32)
TOKENS = np.array([[1, 5, 6, 7], [1, 8, 9, 4]], np.int32)


def test_facts(vision, language):
    assert (vision.name, vision.modality, vision.width, vision.dtype) == ("tiny-dinov2", "vision", 24, "float32")
    assert (language.name, language.modality) == ("tiny-llama", "language")
    assert vision.pools == ("cls", "mean")
    assert language.pools == ("mean", "mean_no_bos", "last")
    assert vision.layer_names == ("embed", "block_1", "block_2", "block_3", "final_norm")
    assert "vision, 3 blocks of width 24" in repr(vision)
    assert vision.source.endswith("tiny-dinov2")
    assert (vision.max_length, language.max_length) == (None, 64)


def test_a_name_does_not_hang_on_how_the_directory_is_spelt(tmp_path, monkeypatch):
    write_vision(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path / "tiny")
    assert load_model(".").name == "tiny"
    assert load_model(f"{tmp_path}/tiny/").name == "tiny"
    assert load_model("../tiny").source == "../tiny"


def test_any_layers_are_read_alike(vision, language):
    for model, batch, pool in ((vision, PIXELS, "cls"), (language, TOKENS, "mean")):
        every = np.asarray(model.readouts(batch, pool=pool, layers=model.layer_names))
        assert every.shape == (5, 2, 24)
        some = np.asarray(model.readouts(batch, pool=pool, layers=("embed", "block_2")))
        assert np.allclose(some, every[[0, 2]], rtol=1e-6, atol=1e-6)


def test_an_item_does_not_depend_on_its_company(vision, language):
    for model, batch, pool in ((vision, PIXELS, "mean"), (language, TOKENS, "last")):
        together = np.asarray(model.readouts(batch, pool=pool, layers=model.layer_names))
        alone = np.asarray(model.readouts(batch[1:], pool=pool, layers=model.layer_names))
        assert np.abs(together[:, 1:] - alone).max() < 1e-5 * np.abs(alone).max()


def test_a_full_mask_is_no_mask_and_jax_arrays_are_taken(language):
    plain = language.readouts(TOKENS, pool="mean", layers=language.layer_names)
    masked = language.readouts(
        jnp.asarray(TOKENS), pool="mean", layers=language.layer_names, mask=jnp.ones((2, 4), bool)
    )
    assert np.array_equal(plain, masked)


def test_unneeded_blocks_are_not_read(tmp_path):
    write_language(tmp_path)
    model = load_model(tmp_path)
    for leaf in (model.network.blocks.feed_forward.down.weight, model.network.final_norm.scale):
        leaf.set_value(leaf[...].at[-1].set(jnp.nan))
    low = model.readouts(TOKENS, pool="mean", layers=("embed", "block_1", "block_2"))
    assert np.isfinite(low).all()
    assert np.isnan(model.readouts(TOKENS, pool="mean", layers=("block_3",))).any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pool": "max"}, "pool 'max' is not known to vision models; known are: cls, mean"),
        ({"pool": "tokens"}, "pool 'tokens' is not known"),
        ({"layers": ("block_4",)}, "has no layer 'block_4'; it has: embed, block_1, block_2, block_3, final_norm"),
        ({"layers": ()}, "has no layer in an empty list"),
        ({"layers": ("block_2", "embed")}, "repeated or out of order"),
        ({"layers": ("embed", "embed")}, "repeated or out of order"),
        ({"batch": PIXELS[:, :1]}, r"takes pixels \[B, 3, H, W\] .* at least 7; got \[2, 1, 28, 28\]"),
        ({"batch": PIXELS[0]}, r"got \[3, 28, 28\]"),
        ({"batch": PIXELS[..., :6]}, r"got \[2, 3, 28, 6\]"),
        ({"mask": np.ones((2, 4), bool)}, "a mask was given, but images have no padding"),
    ],
)
def test_what_a_vision_model_would_misread_is_refused(vision, options, message):
    options = {"batch": PIXELS, "pool": "cls", "layers": ("embed",), **options}
    with pytest.raises(ValueError, match=message):
        vision.readouts(options.pop("batch"), **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pool": "cls"}, "pool 'cls' is not known to language models; known are: last, mean, mean_no_bos"),
        ({"batch": TOKENS[0]}, r"takes token ids \[B, T\]; got int32 \[4\]"),
        ({"batch": TOKENS.astype(np.float32)}, "got float32"),
        ({"batch": np.ones((1, 65), np.int32)}, "reads 64 tokens at most; got a batch of 65"),
        ({"mask": np.ones((2, 3), bool)}, r"the mask is bool \[2, 3\]; expected bool \[2, 4\]"),
        ({"mask": np.ones((2, 4), np.int32)}, "the mask is int32"),
    ],
)
def test_what_a_language_model_would_misread_is_refused(language, options, message):
    options = {"batch": TOKENS, "pool": "mean", "layers": ("embed",), **options}
    with pytest.raises(ValueError, match=message):
        language.readouts(options.pop("batch"), **options)


def test_a_model_without_weights_does_all_but_read(tmp_path, language):
    write_language(tmp_path / "tiny-llama")
    model = load_model(tmp_path / "tiny-llama", weights=False)
    assert (model.layer_names, model.width, model.fingerprint) == (
        language.layer_names,
        language.width,
        language.fingerprint,
    )
    assert np.array_equal(model.preprocess(["a dog"])[0], language.preprocess(["a dog"])[0])
    with pytest.raises(ValueError, match="tiny-llama was loaded with weights=False and has no readouts"):
        model.readouts(TOKENS, pool="mean", layers=("embed",))


def test_a_fingerprint_follows_what_determines_activations(tmp_path):
    write_language(tmp_path / "a", seed=1)
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "b")
    first = load_model(tmp_path / "a").fingerprint
    assert len(first) == 64
    assert load_model(tmp_path / "elsewhere" / "b").fingerprint == first
    (tmp_path / "a" / "README.md").write_text("words about the model")
    assert load_model(tmp_path / "a").fingerprint == first
    assert load_model(tmp_path / "a", dtype="bfloat16").fingerprint == first

    write_tokenizer(tmp_path / "a", bos=False)
    tokenized = load_model(tmp_path / "a").fingerprint
    write_language(tmp_path / "a", seed=2)
    weighed = load_model(tmp_path / "a").fingerprint
    write_language(tmp_path / "a", seed=1, rms_norm_eps=1e-5)
    configured = load_model(tmp_path / "a").fingerprint
    assert len({first, tokenized, weighed, configured}) == 4


def test_a_fingerprint_is_computed_once_and_only_when_asked_for(tmp_path):
    write_language(tmp_path)
    model = load_model(tmp_path)
    first = model.fingerprint
    (tmp_path / "model.safetensors").unlink()
    assert model.fingerprint == first
