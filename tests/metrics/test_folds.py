import numpy as np
import pytest
from sklearn.model_selection import GroupShuffleSplit, KFold, RepeatedKFold, StratifiedKFold

from vla.metrics.folds import outer_folds
from vla.metrics.ridge_settings import RidgeSettings


def test_equals_shuffled_k_fold():
    for (train, test), (expected_train, expected_test) in zip(
        outer_folds(23, 5, 42), KFold(5, shuffle=True, random_state=42).split(np.empty(23)), strict=True
    ):
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(test, expected_test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, 5, 0), "9 items are too few for 5 folds"),
        ((9, 1, 0), "at least 2 folds"),
        ((10, 5, 0, [1, 2]), "one label per item"),
        ((10, 5, 0, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]), "2 groups are too few"),
        ((10, 3, 0, [1, 2, 2, 2, 2, 3, 3, 3, 3, 3]), "test fold of one item"),
    ],
)
def test_folds_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        outer_folds(*arguments)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (None, "no label for the item in row 0: give an item that is in no group a label of its own"),
        (float("nan"), "no label for the item in row 0"),
        (3, "labels of several kinds"),
    ],
)
def test_labels_of_groups_are_all_there_and_of_one_kind(first, words):
    groups = np.array([first, *"aabbccddee"], object)
    with pytest.raises(ValueError, match=words):
        outer_folds(11, 3, 42, groups)


@pytest.mark.parametrize(
    "splitter", [RepeatedKFold(n_splits=3, n_repeats=2, random_state=0), GroupShuffleSplit(4, random_state=1)]
)
def test_a_splitter_of_scikit_learn_gives_the_outer_folds(splitter):
    groups = np.repeat(np.arange(7), 3)
    settings = RidgeSettings(splits=splitter, groups=groups.tolist() if "Group" in repr(splitter) else None)
    expected = list(splitter.split(np.empty((21, 1)), groups=groups))
    settled = settings.for_items(21)
    assert settled.outer_folds == len(expected)
    for folds in (settings.folds(21), settled.folds(21)):
        for fold, plain in zip(folds, expected, strict=True):
            np.testing.assert_array_equal(np.concatenate(fold), np.concatenate(plain))


def test_of_a_subset_each_split_has_its_items_in_their_new_order():
    settings = RidgeSettings(splits=[([5, 1, 3, 7], [0, 2, 6])], groups=list("abcdefgh"))
    subset = settings.for_subset(np.array([0, 1, 3, 6, 7]))
    assert subset.splits == (((1, 2, 4), (0, 3)),) and subset.groups == ["a", "b", "d", "g", "h"]
    with pytest.raises(ValueError, match=r"splits\[0\] has too few test items \(0\)"):
        settings.for_subset(np.array([1, 3, 5])).folds(3)


@pytest.mark.parametrize(
    ("splits", "groups", "message"),
    [
        ("KFold", None, "expected a scikit-learn splitter, such as KFold"),
        ([], None, "expected a scikit-learn splitter"),
        ([[0, 1, 2]], None, "expected a scikit-learn splitter"),
        ([([0.5, 1], [2, 3])], None, "arrays of item numbers"),
        ([([True, False], [False, True])], None, "arrays of item numbers"),
        ([([0, 1], [2, 3]), ([0, 1], [2, 10])], None, r"splits\[1\] has item 10: expected numbers in 0..9"),
        ([([-1, 1], [2, 3])], None, r"splits\[0\] has item -1"),
        ([([0, 1], [2])], None, r"too few test items \(1\)"),
        ([([], [2, 3])], None, r"too few training items \(0\)"),
        ([([0, 1, 1], [2, 3])], None, "a training item twice"),
        ([([0, 1, 2], [2, 3])], None, "item 2 in training and in test"),
        ([([0, 1], [2, 3])], list("abacdefghi"), r"splits\[0\] has group a in training and in test"),
        (KFold(3), list("aaaaaaabcd"), "has group a in training and in test"),
        (StratifiedKFold(3), None, "does not split 10 items.*list\\(StratifiedKFold"),
        (KFold(20), None, "does not split 10 items"),
    ],
)
def test_splits_that_cannot_be_are_refused(splits, groups, message):
    with pytest.raises(ValueError, match=message):
        RidgeSettings(splits=splits, groups=groups).folds(10)
