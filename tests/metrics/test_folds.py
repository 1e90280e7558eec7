import numpy as np
import pytest
from sklearn.model_selection import KFold

from vla.metrics.folds import outer_folds


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
