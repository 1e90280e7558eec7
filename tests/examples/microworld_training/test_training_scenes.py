import numpy as np

from examples.microworld_training import training_scenes
from examples.microworld_training.training_scenes import SHIFT, jittered


def test_shifts_within_bounds_and_changes_of_light(monkeypatch):
    pictures = np.zeros((40, 64, 64, 3), np.uint8)
    pictures[:, 30, 30] = 255
    monkeypatch.setattr(training_scenes, "LIGHT", 0.0)
    monkeypatch.setattr(training_scenes, "TINT", 0.0)
    moved = jittered(pictures, np.random.default_rng(0))
    places = np.argwhere(moved[..., 0] == 255)
    assert len(places) == 40
    assert np.abs(places[:, 1:] - 30).max() == SHIFT and len(set(map(tuple, places[:, 1:]))) > 20
    assert not pictures[:, :30].any()


def test_light(monkeypatch):
    grey = np.full((200, 64, 64, 3), 128, np.uint8)
    lit = jittered(grey, np.random.default_rng(0)).astype(float)
    means = lit.mean((1, 2))
    assert means.min() > 128 - 255 * 0.2 - 1 and means.max() < 128 + 255 * 0.2 + 1
    assert means.mean(1).std() > 10 and (means - means.mean(1, keepdims=True)).std() > 2
