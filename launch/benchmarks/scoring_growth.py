"""How the cost of scoring grows with items and with layers, measured and drawn beside the predicted order.

N items, X = Y layers.
"""

import time
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float

import vla

WIDTH = 256
METRICS = ("linear_predictivity", "cka", "mutual_knn")


def measure_growth(folder: Path, most_items: int, most_layers: int) -> dict[str, float]:
    """Seconds of one table without compilation; the exponent between the two largest sizes by name.

    Predicted: N^2 where there are more items than units, as here from 1,000 on (Gram matrices of items; no
    decomposition is larger than units times units); X Y for the pairs of layers, less where preparing layers costs
    more than pairs.

    Args:
      folder: Where figures are written.
      most_items: The largest number of items; smaller ones are its halves, down to 250.
      most_layers: The largest number of layers on each side, likewise down to 2.
    """
    items, many = _halves(most_items, 250), _halves(most_layers, 2)
    seconds: dict[str, dict[str, list[float]]] = {"items": {}, "layers": {}}
    for metric in METRICS:
        seconds["items"][metric] = [_seconds(metric, 2, n) for n in items]
        seconds["layers"][metric] = [_seconds(metric, layers, 400) for layers in many]
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for axis, sizes in (("items", items), ("layers", many)):
        _draw(folder / f"scoring_{axis}.png", axis, sizes, seconds[axis])
        for metric, values in seconds[axis].items():
            figures[f"{metric}: seconds at {sizes[-1]} {axis}"] = values[-1]
            last = np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2])
            figures[f"{metric}: exponent of growth with {axis}, last doubling (predicted: at most 2)"] = float(last)
    return figures


def _halves(most: int, least: int) -> tuple[int, ...]:
    """A number and its halves, ascending, at least two of them."""
    sizes = [most, most // 2]
    while sizes[-1] // 2 >= least:
        sizes.append(sizes[-1] // 2)
    return tuple(sizes[::-1])


def _seconds(metric: str, layers: int, n: int) -> float:
    x, y = both_sides(layers, layers, n, WIDTH, WIDTH)
    best = np.inf
    for _ in range(2):  # the first compiles
        started = time.perf_counter()
        vla.score(x, y, metric=metric)
        best = min(best, time.perf_counter() - started)
        if best > 12:  # of which compilation is little
            break
    print(f"growth: {metric}, {layers} x {layers} layers, {n} items: {best:.2f} s", flush=True)
    return best


def _draw(path: Path, axis: str, sizes: tuple[int, ...], seconds: dict[str, list[float]]) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.5), layout="constrained")
    for metric, values in seconds.items():
        (line,) = axes.loglog(sizes, values, "o-", label=metric)
        axes.loglog(sizes, values[-1] * (np.array(sizes) / sizes[-1]) ** 2, ":", color=line.get_color(), alpha=0.6)
    axes.set_xlabel(f"{axis} (dotted: second power)")
    axes.set_ylabel("seconds")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def activations(layers: int, n: int, width: int, shared: np.ndarray, seed: int) -> Float[np.ndarray, "L N D"]:
    """Made-up layers: a decaying spectrum, as real activations have, and a growing share of common directions."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, width + 1) ** -0.5
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)
    out = np.empty((layers, n, width), np.float32)
    for i in range(layers):
        latent = rng.standard_normal((n, width)) * spectrum
        latent[:, : shared.shape[1]] += shared * (0.2 + 0.8 * i / max(layers - 1, 1))
        out[i] = latent.astype(np.float32) @ np.roll(rotation, i, axis=0)
    return out


def both_sides(
    x_layers: int, y_layers: int, n: int, x_width: int, y_width: int
) -> tuple[Float[np.ndarray, "X N D"], Float[np.ndarray, "Y N E"]]:
    """Two models' activations of the same items, which have up to 50 directions in common."""
    shared = np.random.default_rng(0).standard_normal((n, min(50, x_width, y_width)))
    return activations(x_layers, n, x_width, shared, 1), activations(y_layers, n, y_width, shared, 2)
