"""What can be read from a vision network's class token, beside pixels and the untrained network.

Axes: N scenes, D width.
"""

from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from vla.microworld.training.material import Material
from vla.microworld.training.networks import Tree, class_token, pixels_of

# Scenes that a probe is fitted to.
FITTED = 2000


def vision_findings(graph: Any, before: Tree, after: Tree, seen: Material, unseen: Material) -> dict[str, Any]:
    """Accuracy and average precision of probes on unseen scenes, for three kinds of features and for chance.

    Stuff: 10 nearest neighbours by cosine. Things and colours: a linear probe (ridge, penalty 1, standardised
    features) per kind; the mean average precision over kinds, whose chance level is how frequent they are.
    """
    seen = seen.part(slice(0, FITTED))
    common = seen.labels["stuff"].sum(0).argmax()
    found: dict[str, Any] = {
        "chance": {
            "stuff_accuracy": float(unseen.labels["stuff"][:, common].mean()),
            "things_average_precision": _frequency(unseen.labels["things"]),
            "colours_average_precision": _frequency(unseen.labels["colours"]),
        },
        "pixels": _probe(_small(seen.pictures), _small(unseen.pictures), seen, unseen),
    }
    for name, state in (("untrained", before), ("trained", after)):
        network = nnx.merge(graph, state)
        found[name] = _probe(_features(network, seen.pictures), _features(network, unseen.pictures), seen, unseen)
    return {"probes_of_final_class_token": found}


def _frequency(labels: np.ndarray) -> float:
    """How often a label is true, mean over those that ever are."""
    return float(labels[:, labels.any(0)].mean())


def _features(network: Any, pictures: np.ndarray) -> Float[np.ndarray, "N D"]:
    """The class token after the final norm."""
    cls = jax.jit(lambda pixels: class_token(network, network.embedding(pixels)))
    return np.concatenate([np.asarray(cls(pixels_of(pictures[i : i + 50]))) for i in range(0, len(pictures), 50)])


def _small(pictures: np.ndarray) -> Float[np.ndarray, "N D"]:
    """Pictures averaged to 8 by 8 pixels: 192 numbers."""
    N, S = pictures.shape[:2]
    return np.asarray(pictures, np.float32).reshape(N, 8, S // 8, 8, S // 8, 3).mean((2, 4)).reshape(N, -1)


def _probe(x: np.ndarray, y: np.ndarray, seen: Material, unseen: Material) -> dict[str, float]:
    """Fit on `x` of seen scenes, report on `y` of unseen ones."""
    scaler = StandardScaler().fit(x)
    x, y = scaler.transform(x), scaler.transform(y)
    neighbours = KNeighborsClassifier(10, metric="cosine").fit(x, seen.labels["stuff"].argmax(1))

    def precision(name: str) -> float:
        true, wanted = (part.labels[name].astype(int) for part in (seen, unseen))
        there = [i for i in range(true.shape[1]) if 0 < true[:, i].sum() and 0 < wanted[:, i].sum()]
        said = RidgeClassifier(alpha=1.0).fit(x, true[:, there]).decision_function(y)
        return float(average_precision_score(wanted[:, there], said, average="macro"))

    return {
        "stuff_accuracy": float(neighbours.score(y, unseen.labels["stuff"].argmax(1))),
        "things_average_precision": precision("things"),
        "colours_average_precision": precision("colours"),
    }
