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


def test_checkpoints_are_of_their_model():
    assert (trunk("llama@150"), trunk("llama")) == ("llama", "llama")
