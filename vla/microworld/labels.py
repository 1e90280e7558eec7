"""What is in a scene as numbers, to train and to check models that see."""

import numpy as np

from vla.microworld.placing import RELATIONS
from vla.microworld.scenes import Scene
from vla.microworld.world import ACTIONS, COLOURS, KINDS, PLACES, SIZES, STUFF, WEATHER

# The names of the entries of each array of labels.
NAMES: dict[str, tuple[str, ...]] = {
    "stuff": tuple(STUFF),
    "weather": ("none", *WEATHER),
    "things": tuple(KINDS),
    "counts": tuple(KINDS),
    "colours": COLOURS,
    "coloured_things": tuple(f"{colour} {kind}" for kind, colours in KINDS.items() for colour in colours),
    "sizes": tuple(f"{size} {kind}" for kind in KINDS for size in SIZES),
    "actions": tuple(f"{kind} {action}" for kind in KINDS for action in ACTIONS),
    "relation": ("none", *RELATIONS),
    "place": PLACES,
}


def labels(scene: Scene) -> dict[str, np.ndarray]:
    """Everything about a scene but positions to the pixel.

    Returns:
      "stuff", "weather", "relation", "place": int32 [], the place of the true one in NAMES.
      "counts": int32 [16], how many things of each kind there are.
      "things", "colours", "coloured_things", "sizes", "actions": float32, 1 for what is there, else 0, as in NAMES.
    """
    groups = scene.groups
    present = {
        "things": [group.kind for group in groups],
        "colours": [group.colour for group in groups],
        "coloured_things": [f"{group.colour} {group.kind}" for group in groups],
        "sizes": [f"{group.size} {group.kind}" for group in groups],
        "actions": [f"{group.kind} {group.action}" for group in groups],
    }
    one = {
        "stuff": scene.stuff,
        "weather": scene.weather or "none",
        "relation": scene.relation or "none",
        "place": scene.place,
    }
    found = {name: np.isin(NAMES[name], there).astype(np.float32) for name, there in present.items()}
    found |= {name: np.array(NAMES[name].index(value), np.int32) for name, value in one.items()}
    counts = {group.kind: group.count for group in groups}
    return found | {"counts": np.array([counts.get(kind, 0) for kind in KINDS], np.int32)}
