import importlib.util
from pathlib import Path

import pytest

from examples.microworld_training import MODELS, Settings

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "microworld").glob("*.py"))


def test_there_is_a_config_for_every_model():
    made = []
    for path in CONFIGS:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made.append(Settings(**module.get_config().to_dict()))
    assert sorted(each.model for each in made) == sorted(MODELS)
    # Whatever they learn from, they learn from the same scenes.
    assert len({(each.world_seed, each.n_scenes, each.n_held_out) for each in made}) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "micro-gpt"}, "known are: micro-bloom, micro-clip"),
        ({"steps": 0}, "steps=0; expected a whole number of at least 1"),
        ({"seed": -1}, "seed=-1; expected a whole number of 0 or more"),
        ({"learning_rate": 0.0}, "expected a number above 0"),
        ({"steps": 10, "checkpoints": (3, 10)}, "from 1 to 9"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Settings(**{"model": "micro-vit", **changes})
