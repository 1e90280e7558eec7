"""Names and sources of models, models of checkpoints, and which layer is the penultimate one."""

import pytest

from vla.experiments.names import base_name, name_and_source, penultimate


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("facebook/dinov2-base", ("dinov2-base", "facebook/dinov2-base")),
        ("/checkpoints/mine/", ("mine", "/checkpoints/mine/")),
        ("mine=facebook/dinov2-base", ("mine", "facebook/dinov2-base")),
        # A path may hold a sign of equality.
        ("/runs/lr=3/last", ("last", "/runs/lr=3/last")),
        ("mine=/runs/lr=3/last", ("mine", "/runs/lr=3/last")),
    ],
)
def test_names_and_sources(model, expected):
    assert name_and_source(model) == expected


def test_a_folder_that_is_there_is_no_name_and_source(tmp_path, monkeypatch):
    (tmp_path / "lr=3" / "last").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert name_and_source("lr=3/last") == ("last", "lr=3/last")
    assert name_and_source("lr=3/first") == ("lr", "3/first")


def test_checkpoints_are_of_their_model():
    assert (base_name("llama@150"), base_name("llama")) == ("llama", "llama")


def test_blocks_go_by_their_number_and_other_layers_by_their_place():
    assert penultimate(["embed", "block_1", "block_10", "block_11", "block_9", "final_norm"]) == "block_10"
    assert penultimate(["block_3", "block_6", "block_9"]) == "block_6"
    assert penultimate(["embed", "block_1", "final_norm"]) == "block_1"
    assert penultimate(["low", "middle", "high"]) == "middle" and penultimate(["alone"]) == "alone"
