"""How others score layer pairs, written as their users write it.

N items, D and E units, K neighbours.
"""

import numpy as np
import torch
from himalaya import backend
from himalaya.kernel_ridge import KernelRidgeCV
from jaxtyping import Float
from scipy import stats
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

from vla.metrics import RidgeSettings

Cell = tuple[np.ndarray, np.ndarray]


def scikit_learn_cell(x: np.ndarray, y: np.ndarray, settings: RidgeSettings) -> Cell:
    """One layer pair with scikit-learn, in float64: fold scores and penalties."""
    scores, alphas = [], []
    for train, test in KFold(settings.outer_folds, shuffle=True, random_state=settings.seed).split(x):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        a, b = of_x.transform(x[train]), of_y.transform(y[train])
        if settings.inner_cv == "loo":
            model = RidgeCV(settings.alphas).fit(a, b)
            alphas.append(model.alpha_)
        else:
            grid = {"alpha": settings.alphas}
            model = GridSearchCV(Ridge(), grid, cv=settings.inner_cv, scoring="neg_mean_squared_error").fit(a, b)
            alphas.append(model.best_params_["alpha"])
        predicted, target = model.predict(of_x.transform(x[test])), of_y.transform(y[test])
        scores.append(_mean_r(predicted, target))
    return np.array(scores), np.array(alphas)


def himalaya_cell(x: np.ndarray, y: np.ndarray, settings: RidgeSettings, dtype: type = np.float32) -> Cell:
    """One layer pair with himalaya on torch, with inner folds, all of it in one precision.

    `KernelRidgeCV`, its way for fewer items than units: one eigendecomposition per inner fold for all penalties, one
    penalty for all units. It has no leave-one-out of its own short of as many folds as items.
    """
    backend.set_backend("torch")
    scores, alphas = [], []
    grid = torch.from_numpy(np.asarray(settings.alphas, dtype))
    for train, test in KFold(settings.outer_folds, shuffle=True, random_state=settings.seed).split(x):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        a, b, unseen = (
            torch.from_numpy(part.astype(dtype))
            for part in (of_x.transform(x[train]), of_y.transform(y[train]), of_x.transform(x[test]))
        )
        model = KernelRidgeCV(
            alphas=grid,
            cv=KFold(5 if settings.inner_cv == "loo" else settings.inner_cv),
            fit_intercept=True,
            solver_params={"local_alpha": False},
        ).fit(a, b)
        alphas.append(float(model.best_alphas_[0]))
        scores.append(_mean_r(model.predict(unseen).numpy(), of_y.transform(y[test])))
    return np.array(scores), np.array(alphas)


def _mean_r(predicted: np.ndarray, target: np.ndarray) -> float:
    r: float = stats.pearsonr(predicted, target, axis=0).statistic.mean()  # pyright: ignore
    return r


def platonic_pair(x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "N E"], k: int, *, sort: bool = True) -> float:
    """Mutual k-NN of one layer pair on torch in float32 after Huh et al. (2024), equation 11: unit vectors, the k
    nearest of every item by inner product, itself left out, and the mean share that both sides have in common.

    Neighbours are sought anew for every pair, as platonic-rep's loop over layers does, by sorting all items as it does
    or by `topk`.
    """
    masks = []
    for features in (x, y):
        unit = torch.nn.functional.normalize(torch.from_numpy(features), dim=-1)
        near = (unit @ unit.T).fill_diagonal_(-1e8)
        nearest = near.argsort(dim=1, descending=True)[:, :k] if sort else near.topk(k, dim=1).indices
        masks.append(torch.zeros(near.shape).scatter_(1, nearest, 1.0))
    return float((masks[0] * masks[1]).sum(dim=1).mean() / k)
