"""What models are called."""

import pytest

from vla.experiments.naming import named, trunk


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("facebook/dinov2-base", ("dinov2-base", "facebook/dinov2-base")),
        ("/checkpoints/mine/", ("mine", "/checkpoints/mine/")),
        ("mine=facebook/dinov2-base", ("mine", "facebook/dinov2-base")),
        # A path may hold a sign of equality.
        ("/runs/lr=3/last", ("last", "/runs/lr=3/last")),
        ("mine=/runs/lr=3/last", ("mine", "/runs/lr=3/last")),
    ],
)
def test_names_and_sources(given, expected):
    assert named(given) == expected


def test_a_folder_that_is_there_is_no_name_and_source(tmp_path, monkeypatch):
    (tmp_path / "lr=3" / "last").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert named("lr=3/last") == ("last", "lr=3/last")
    assert named("lr=3/first") == ("lr", "3/first")


def test_checkpoints_are_of_their_model():
    assert (trunk("llama@150"), trunk("llama")) == ("llama", "llama")
