"""Studies that cannot be run are refused before anything is extracted, with what there is."""

import dataclasses

import pytest

from vla.experiments.choices import Choices
from vla.experiments.experiment import Condition, Experiment
from vla.experiments.study import DatasetPlan, Study


def study(**changes):
    given = {
        "experiments": (Experiment("mine", "Mine", "?", (Condition("a"), Condition("b", image="grayscale"))),),
        "datasets": {"coco": DatasetPlan("coco", "coco_val2017")},
        "vision": {"core": ("v", "w")},
        "language": {"core": ("t",)},
    }
    return Study(**{**given, **changes})


def asking(**condition):
    return (Experiment("mine", "Mine", "?", (Condition("a", **condition),)),)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"experiments": ()}, "expected one or more, each once"),
        ({"experiments": asking() * 2}, r"experiments \['mine', 'mine'\]: expected one or more, each once"),
        ({"experiments": asking(dataset="flickr")}, "'a': no dataset has the role 'flickr'; there are coco"),
        ({"experiments": asking(image="sepia")}, "experiment 'mine', condition 'a': 'sepia': no image view is called"),
        ({"experiments": asking(vision="wide")}, "the group 'wide' has no vision models; groups .*: core"),
        ({"language": {}}, "'core' has no .* models; groups with models: none"),
        ({"metrics": ("cka", "rsaa")}, "metric='rsaa'; expected one of .*rsa"),
        ({"stage": "draw"}, "stage='draw'; expected one of all, extract, score"),
        ({"shard": (2, 2)}, "shard=2/2: expected i/n"),
        ({"seeds": (1, 2, 1)}, r"seeds=\(1, 2, 1\): expected each once"),
        ({"overrides": {"outer_folds": 1}}, "overrides.outer_folds=1; expected a whole number of at least 2"),
        ({"overrides": {"outer_folds": "five"}}, "overrides.outer_folds='five'; expected"),
        ({"overrides": {"outer_fold": 3}}, "overrides \\(linear_predictivity\\) has no setting outer_fold"),
        ({"overrides": {"seed": 3}}, "overrides .* has no setting seed"),
        (
            {"metrics": ("cka",), "overrides": {"alphas": (1.0,)}},
            "overrides \\(cka\\) has no setting .*; it has groups, outer_folds",
        ),
        ({"dtype": "float16"}, "dtype='float16'; expected one of bfloat16, float32"),
        ({"tensor_parallel": 0}, "tensor_parallel=0; expected a whole number of at least 1"),
        ({"null": -1}, "null=-1; expected a whole number of at least 0"),
        ({"halves": -1}, "halves=-1; expected a whole number of at least 0"),
        ({"bootstrap": 1}, "bootstrap=1: an interval needs at least 2 draws"),
        ({"confidence": 1.0}, "confidence=1.0"),
        ({"intervals": "maps"}, "intervals='maps'; expected one of all, penultimate"),
        ({"overrides": {"inner_cv": "one"}}, "inner_cv='one'"),
        ({"metrics": ("cka",), "overrides": {"inner_cv": 5}}, "overrides .cka. has no setting inner_cv"),
        ({"batch_size": -1}, "batch_size=-1; expected a whole number of at least 0"),
        ({"bootstrap": 9, "choices": Choices(constant_targets="zero")}, "set bootstrap=0 or constant_targets"),
    ],
)
def test_what_cannot_be_run(changes, words):
    with pytest.raises(ValueError, match=words):
        study(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "coco"}, "datasets.mine: no dataset is called 'coco'; known are captioned_folder, coco_val2017, "),
        ({"name": "captioned_folder", "directory": None}, "datasets.mine: captioned_folder needs directory="),
        (
            {"name": "hugging_face", "directory": None},
            "datasets.mine: hugging_face needs directory=: the dataset's name",
        ),
        ({"options": {"mask": "none"}}, "coco_val2017 has no option mask; it has .*masks, missing_captions"),
        ({"directory": None, "options": {"missing_masks": "drop"}}, "has no option missing_masks; it has masks"),
        ({"missing_images": "skip"}, "datasets.mine: missing_images='skip'; expected one of drop, refuse"),
        ({"missing": "skip"}, "datasets.mine: missing='skip'; expected one of drop, refuse"),
        ({"n_items": -1}, "datasets.mine.n_items=-1; expected a whole number of at least 0"),
    ],
)
def test_a_dataset_that_no_files_could_mend_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        DatasetPlan("mine", **{"name": "coco_val2017", "directory": "not here", **changes})


def test_a_dataset_without_files_yet_may_be_planned():
    assert DatasetPlan("mine", "pick_a_pic").directory is None
    assert DatasetPlan("mine", "flickr8k", "not here", options={"missing_captions": "drop"}).directory == "not here"


def test_metrics_of_an_experiment_are_its_own_or_the_studys():
    found = study(metrics=("cka",))
    own = dataclasses.replace(found.experiments[0], metrics=("rsa",))
    assert (found.metrics_of(found.experiments[0]), found.metrics_of(own)) == (("cka",), ("rsa",))


def test_pairs_and_models():
    found = study()
    (one,) = found.experiments
    assert found.pairs(one.conditions[0]) == [("v", "t"), ("w", "t")]
    # A model that is named twice is one all the same.
    assert study(vision={"core": ("v", "w", "v")}).pairs(one.conditions[0]) == [("v", "t"), ("w", "t")]
    assert (found.models(one, "vision"), found.models(one, "language")) == (["v", "w"], ["t"])


def test_items_are_drawn_for_intervals_of_single_pairs_of_layers_unless_all_are_asked_for():
    found = study(bootstrap=7)
    assert (found.draws("penultimate"), found.draws("all"), found.draws(("block_1",))) == (7, 0, 0)
    assert study(bootstrap=7, intervals="all").draws("all") == 7
    # Halves tell how far a map repeats itself: the penultimate blocks alone are no map.
    assert (study(halves=3).splits("penultimate"), study(halves=3).splits("all")) == (0, 3)


def test_flags_are_those_of_the_config_that_describes_the_study():
    assert study().flag("unmasked", "drop") == "--config.choices.unmasked=drop"
    assert study().flag("outer_folds", 3) == "--config.overrides.outer_folds=3"
    main = DatasetPlan("main", "flickr8k", "x")
    one = study(datasets={"main": main}, experiments=asking(dataset="main"))
    assert one.flag("unmasked", "drop") == "--config.settings.unmasked=drop"
    assert main.flag("directory", "my images") == "--config.data.path='my images'"
    assert main.flag("n_items", 3) == "--config.data.n=3" and main.flag("missing_captions", "drop").endswith("=drop")
    with pytest.raises(ValueError, match="no dataset: set --config.data.path=FOLDER"):
        DatasetPlan("main", "captioned_folder")
    with pytest.raises(ValueError, match="data.n=-1; expected a whole number of at least 0"):
        DatasetPlan("main", "flickr8k", "x", n_items=-1)
    with pytest.raises(ValueError, match="no vision models: set --config.vision to a Hub id or a folder"):
        study(vision={"main": ()}, experiments=asking(vision="main"))
