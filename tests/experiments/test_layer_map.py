import pytest

from vla.experiments.layer_map import LayerMap

MODELS = {"folder": "photos", "vision_models": ("one",), "language_models": ("two",)}


def test_an_override_that_no_metric_has_is_refused():
    with pytest.raises(
        ValueError, match="overrides inner_cv: none of the metrics cka has such a setting; they have none"
    ):
        LayerMap(**MODELS, metrics=("cka",), overrides={"inner_cv": 5})
    with pytest.raises(ValueError, match="overrides inner_cvv: none of .* they have alpha_per_target, alphas, "):
        LayerMap(**MODELS, overrides={"inner_cvv": 5})


def test_an_override_reaches_the_metrics_that_have_it():
    plan = LayerMap(**MODELS, metrics=("cka", "mutual_knn"), overrides={"neighbours": 3, "alphas": None})
    assert plan.overrides == {"neighbours": 3}


@pytest.mark.parametrize(
    "wrong, said",
    [({"bootstrap": 1}, "bootstrap=1: an interval needs at least 2 draws"), ({"halves": -1}, "halves=-1"),
     ({"confidence": 1.0}, "confidence=1.0"), ({"null": -1}, "null=-1")],
)  # fmt: skip
def test_what_is_asked_of_scores_is_checked_before_anything_is_extracted(wrong, said):
    with pytest.raises(ValueError, match=said):
        LayerMap(**MODELS, **wrong)
