"""Linear predictivity of all layer pairs against scikit-learn's loop, measured in one run.

N items, D and E units.
"""

import dataclasses
import time
from typing import Any

import numpy as np
from scipy import stats
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

import vla
from vla.metrics import RidgeSettings


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is scored: numbers of layers, items, units, and how many pairs the peer is timed on in each direction."""

    x_layers: int = 8
    y_layers: int = 8
    n_items: int = 1000
    x_width: int = 1024
    y_width: int = 2560
    inner_cv: str | int = "loo"
    peer_pairs: int = 2


def activations(layers: int, n: int, width: int, shared: np.ndarray, seed: int) -> np.ndarray:
    """Made-up layers: a decaying spectrum, as real activations have, and a growing share of common directions."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, width + 1) ** -0.5
    out = np.empty((layers, n, width), np.float32)
    for i in range(layers):
        latent = rng.standard_normal((n, width)) * spectrum
        latent[:, : shared.shape[1]] += shared * (0.2 + 0.8 * i / max(layers - 1, 1))
        out[i] = latent @ np.linalg.qr(rng.standard_normal((width, width)))[0]
    return out


def scikit_learn_cell(x: np.ndarray, y: np.ndarray, inner_cv: str | int, settings: RidgeSettings) -> tuple[Any, Any]:
    """One layer pair as one writes it with scikit-learn: fold scores and penalties."""
    scores, alphas = [], []
    for train, test in KFold(settings.outer_folds, shuffle=True, random_state=settings.seed).split(x):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        a, b = of_x.transform(x[train]), of_y.transform(y[train])
        if inner_cv == "loo":
            model = RidgeCV(settings.alphas).fit(a, b)
            alphas.append(model.alpha_)
        else:
            grid = {"alpha": settings.alphas}
            model = GridSearchCV(Ridge(), grid, cv=inner_cv, scoring="neg_mean_squared_error").fit(a, b)
            alphas.append(model.best_params_["alpha"])
        predicted, target = model.predict(of_x.transform(x[test])), of_y.transform(y[test])
        r: Any = stats.pearsonr(predicted, target, axis=0)
        scores.append(r.statistic.mean())
    return np.array(scores), np.array(alphas)


def measure(sizes: Sizes) -> dict[str, float]:
    """Time both on the same activations, and how far they agree.

    The peer is timed on a few layer pairs, half of them before and half after our run, and scaled to all pairs.
    Returns seconds, ratios, the largest difference of a fold's r and the number of penalties that differ.
    """
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((sizes.n_items, min(50, sizes.x_width, sizes.y_width)))
    x = activations(sizes.x_layers, sizes.n_items, sizes.x_width, shared, 1)
    y = activations(sizes.y_layers, sizes.n_items, sizes.y_width, shared, 2)
    settings = RidgeSettings(inner_cv=sizes.inner_cv)
    picks = [
        (int(rng.integers(sizes.x_layers)), int(rng.integers(sizes.y_layers))) for _ in range(max(sizes.peer_pairs, 2))
    ]
    peer_seconds, cells = [], {}

    def time_peer(some: list[tuple[int, int]]) -> None:
        for i, j in some:
            for name, a, b in (("xy", x[i], y[j]), ("yx", y[j], x[i])):
                started = time.perf_counter()
                cells[name, i, j] = scikit_learn_cell(a.astype(float), b.astype(float), sizes.inner_cv, settings)
                peer_seconds.append(time.perf_counter() - started)

    time_peer(picks[: len(picks) // 2])
    ours, tables = [], {}
    for _ in range(2):
        started = time.perf_counter()
        tables["xy"] = vla.score(x, y, inner_cv=sizes.inner_cv)
        tables["yx"] = vla.score(y, x, inner_cv=sizes.inner_cv)
        ours.append(time.perf_counter() - started)
    time_peer(picks[len(picks) // 2 :])

    off_r, off_alpha = 0.0, 0
    for (name, i, j), (scores, alphas) in cells.items():
        cell = tables[name][{"x_layer": i, "y_layer": j} if name == "xy" else {"x_layer": j, "y_layer": i}]
        off_r = max(off_r, float(np.abs(cell["fold_score"].values - scores).max()))
        off_alpha += int(np.sum(~np.isclose(cell["alpha"].values, alphas, rtol=1e-9)))
    peer = float(np.mean(peer_seconds)) * 2 * sizes.x_layers * sizes.y_layers
    return {
        "seconds, first run with compilation": ours[0],
        "seconds, second run": ours[1],
        "scikit-learn seconds per layer pair and direction": float(np.mean(peer_seconds)),
        "scikit-learn seconds, scaled to all pairs": peer,
        "times faster, first run with compilation": peer / ours[0],
        "times faster, second run": peer / ours[1],
        "largest difference of r on the timed pairs": off_r,
        "penalties that differ on the timed pairs": float(off_alpha),
        "penalties compared": float(sum(len(alphas) for _, alphas in cells.values())),
    }
