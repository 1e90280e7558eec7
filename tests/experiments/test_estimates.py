"""Estimates against counts by hand, and against a scoring that was timed."""

import json

import jax
import numpy as np
import psutil
import pytest

from vla.experiments import estimates
from vla.experiments.estimates import CAPTION_TOKENS, Size, extraction, scoring, size

# Large products on the two cores on which the scoring of the README was timed, in TFLOP/s.
TWO_CORES = estimates.Hardware(
    "two", "two cores", 1, 0.164, 0.164, 0.077, 24.0, estimates.SHARE_EXTRACTION, estimates.SHARE_SCORING,
    estimates.SHARE_EIGEN, "timed", "timed",
)  # fmt: skip


def test_scoring_of_all_layer_pairs_takes_what_was_timed():
    both = scoring("linear_predictivity", [(25, 1024), (31, 2560)], 1000, 1)
    both += scoring("linear_predictivity", [(31, 2560), (25, 1024)], 1000, 1)
    _, seconds = both.seconds(TWO_CORES, "float32")
    assert 0.8 * 120 < seconds < 1.2 * 120


def test_the_cheaper_side_is_decomposed():
    wide, narrow = (scoring("linear_predictivity", [(1, d), (1, 64)], 1000, 1) for d in (1024, 64))
    assert wide.eigen == 5 * 9 * 800**3 and narrow.eigen == 5 * 9 * 64**3
    assert narrow.products < wide.products / 10


def test_shuffled_pairings_add_targets_and_no_eigendecompositions():
    plain, shuffled = (scoring("linear_predictivity", [(2, 900), (3, 900)], 1000, p) for p in (1, 6))
    assert shuffled.eigen == plain.eigen and plain.products < shuffled.products < 6 * plain.products


def test_extraction_by_hand():
    model = Size(depth=2, width=8, parameters=100.0, tokens=10, bytes=400.0)
    work = extraction(model, 50, "all", "bfloat16")
    assert work.forward == 50 * (2 * 100 * 10 + 4 * 2 * 10**2 * 8)
    assert work.disk == 4 * 50 * 8 * 4 and work.memory == 200 + work.disk
    assert extraction(model, 50, "penultimate", "float32").disk == 4 * 50 * 8
    assert (work + work).disk == 2 * work.disk and (work + work).memory == work.memory


def test_every_machine_states_what_its_figures_rest_on():
    gpu, tpu = estimates.accelerators()
    assert (gpu.devices, tpu.devices) == (1, 8)
    for machine in (gpu, tpu):
        assert "assumed, not measured" in machine.basis and machine.source and 0 < machine.share_eigen < 0.01
        assert 0 < machine.share_scoring < estimates.SHARE_SCORING and machine.memory_gib > 100


def test_a_streamed_model_holds_one_block_and_what_the_items_became():
    model = Size(depth=4, width=8, parameters=100.0, tokens=10, bytes=400.0)
    whole, streamed = (extraction(model, 50, "penultimate", "float32", stream=stream) for stream in (False, True))
    kept = 4 * 50 * 8
    assert whole.memory == 400 + kept and streamed.memory == 400 / 4 + 4 * 50 * 10 * 8 + kept
    assert (whole.each, streamed.each) == (400, 100) and streamed.forward == whole.forward
    assert extraction(model, 50, "all", "bfloat16", tensor_parallel=2).each == 100
    assert (whole + streamed).each == 400


def test_token_embeddings_are_held_with_the_weights_unless_the_model_is_streamed():
    model = Size(depth=4, width=8, parameters=100.0, tokens=10, bytes=400.0, embedding=60.0)
    whole, streamed = (extraction(model, 50, "penultimate", "float32", stream=stream) for stream in (False, True))
    assert (whole.memory - 4 * 50 * 8, whole.each, streamed.each) == (640, 640, 100)
    assert whole.forward == 50 * (2 * 100 * 10 + 4 * 4 * 10**2 * 8)
    assert extraction(model, 50, "all", "bfloat16", tensor_parallel=2).each == 160


def test_rates_are_flops_by_seconds(monkeypatch):
    monkeypatch.setattr(estimates, "_seconds", lambda call: (call(), 0.5)[1])
    assert estimates._product_rate(np.float32) == pytest.approx(2 * 1024**3 / 0.5 / 1e12)
    assert estimates._eigen_rate(20) == pytest.approx(9 * 20**3 / 0.5 / 1e12)


def test_of_a_cpu_all_cores_are_one_and_its_memory_is_the_machines(monkeypatch):
    monkeypatch.setattr(estimates, "_product_rate", lambda dtype: {4: 3.0, 8: 1.0}[np.dtype(dtype).itemsize])
    here = estimates.this_machine.__wrapped__()
    assert (here.bfloat16, here.float32, here.float64) == (3.0, 3.0, 1.0)
    assert here.memory_gib == pytest.approx(psutil.virtual_memory().total / 2**30)
    assert "measured just now" in here.basis and "two cores" in here.basis and "1,024" in here.source


def test_of_accelerators_every_rate_is_that_of_all_of_them_and_eigenvectors_are_timed(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    monkeypatch.setattr(estimates, "_product_rate", lambda dtype: {2: 9.0, 4: 3.0, 8: 1.0}[np.dtype(dtype).itemsize])
    monkeypatch.setattr(estimates, "_eigen_rate", lambda: 0.01)
    here = estimates.this_machine.__wrapped__()
    assert (here.devices, here.bfloat16, here.float32, here.float64) == (4, 36.0, 12.0, 4.0)
    assert here.float64 * here.share_eigen == pytest.approx(4 * 0.01)
    assert "4 x" in here.words and "eigendecompositions as well" in here.basis and "assumed" in here.basis
    gpu = estimates.accelerators()[0]
    assert (here.share_extraction, here.share_scoring) == (gpu.share_extraction, gpu.share_scoring)


def test_memory_of_accelerators_is_their_own(monkeypatch):
    class Device:
        def __init__(self, limit):
            self.memory_stats = lambda: {"bytes_limit": limit}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(2**30), Device(3 * 2**30)])
    assert estimates._memory() == 4 * 2**30


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
