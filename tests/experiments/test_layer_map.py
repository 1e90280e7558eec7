import pytest
from PIL import Image

from tests.checkpoints import write_language, write_vision
from vla.activations.store import Store
from vla.experiments.layer_map import LayerMap, extract_all

MODELS = {"folder": "photos", "vision_models": ("one",), "language_models": ("two",)}


def test_an_override_that_no_metric_has_is_refused():
    with pytest.raises(
        ValueError, match="overrides inner_cv: none of the metrics cka has such a setting; they have groups"
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


def test_a_caption_that_is_too_long_is_found_before_anything_is_extracted(tmp_path):
    write_vision(tmp_path / "dino")
    write_language(tmp_path / "llama", max_position_embeddings=6)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "abc":
        Image.new("RGB", (30, 30)).save(photos / f"{name}.png")
    (photos / "captions.txt").write_text("image,caption\na.png,a dog\nb.png,a dog runs on the red grass\nc.png,a cat\n")
    models = {"vision_models": (str(tmp_path / "dino"),), "language_models": (str(tmp_path / "llama"),)}
    plan = LayerMap(str(photos), n_items=0, **models)
    with pytest.raises(ValueError, match=r"item 'b': caption \('a dog runs .*has 8 tokens, but .* 6 at most"):
        extract_all(plan, Store(str(tmp_path / "store")), show_progress=False)
    assert not (tmp_path / "store").exists()
