"""Estimates against counts by hand, and against a scoring that was timed."""

from vla.experiments import hardware
from vla.experiments.estimates import extraction, scoring
from vla.experiments.sizes import Size

# Large products on the two cores on which the scoring of the README was timed, in TFLOP/s.
TWO_CORES = hardware.Hardware(
    "two", "two cores", 1, 0.164, 0.164, 0.077, 24.0, 0.0, hardware.SHARE_EXTRACTION, hardware.SHARE_SCORING,
    hardware.SHARE_EIGEN, "timed", "timed",
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
    gpu, tpu = hardware.accelerators()
    assert (gpu.devices, tpu.devices) == (1, 8)
    for machine in (gpu, tpu):
        assert "assumed, not measured" in machine.basis and machine.source and 0 < machine.share_eigen < 0.01
        assert 0 < machine.share_scoring < hardware.SHARE_SCORING and machine.memory_gib > 100


def test_a_streamed_model_holds_one_block_and_what_the_items_became():
    model = Size(depth=4, width=8, parameters=100.0, tokens=10, bytes=400.0)
    whole, streamed = (extraction(model, 50, "penultimate", "float32", stream=stream) for stream in (False, True))
    kept = 4 * 50 * 8
    assert whole.memory == 400 + kept and streamed.memory == 400 / 4 + 4 * 50 * 10 * 8 + kept
    assert (whole.each, streamed.each) == (400, 100) and streamed.forward == whole.forward
    assert extraction(model, 50, "all", "bfloat16", shared=2).each == 100
    assert (whole + streamed).each == 400


def test_token_embeddings_are_held_with_the_weights_unless_the_model_is_streamed():
    model = Size(depth=4, width=8, parameters=100.0, tokens=10, bytes=400.0, embedding=60.0)
    whole, streamed = (extraction(model, 50, "penultimate", "float32", stream=stream) for stream in (False, True))
    assert (whole.memory - 4 * 50 * 8, whole.each, streamed.each) == (640, 640, 100)
    assert whole.forward == 50 * (2 * 100 * 10 + 4 * 4 * 10**2 * 8)
    assert extraction(model, 50, "all", "bfloat16", shared=2).each == 160
