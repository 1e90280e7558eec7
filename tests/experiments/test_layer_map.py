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
