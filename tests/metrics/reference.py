"""Scikit-learn's own loop over one pair of layers, written as the paper's appendix A.1 reads."""

import numpy as np
from scipy import stats
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

ALPHAS = np.logspace(-8, 8, 17)


def ridge_folds(
    x, y, *, inner_cv="loo", standardize_targets=True, test_statistics="train", folds=None, per_target=False
):
    """Per fold: Pearson r of every target (NaN where constant) and the chosen alpha."""
    folds = folds if folds is not None else list(KFold(5, shuffle=True, random_state=42).split(x))
    correlations, alphas = [], []
    for train, test in folds:
        scale_x = StandardScaler().fit(x[train])
        scale_y = StandardScaler(with_std=standardize_targets).fit(y[train])
        a, b = scale_x.transform(x[train]), scale_y.transform(y[train])
        own = StandardScaler().fit(x[test]) if test_statistics == "test" else scale_x
        if inner_cv == "loo":
            model = RidgeCV(ALPHAS, alpha_per_target=per_target).fit(a, b)
            alphas.append(model.alpha_)
        else:
            search = GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=KFold(inner_cv), scoring="neg_mean_squared_error")
            model = search.fit(a, b)
            alphas.append(search.best_params_["alpha"])
        predicted = model.predict(own.transform(x[test])).reshape(len(test), -1)
        correlations.append([_r(p, t) for p, t in zip(predicted.T, y[test].T, strict=True)])
    return np.array(correlations), np.array(alphas)


def _r(predicted, target):
    if np.ptp(predicted) == 0 or np.ptp(target) == 0:
        return np.nan
    return stats.pearsonr(predicted, target).statistic


def related(seed, n, d, e, noise=1.0, latent=8, dtype=np.float64):
    """Two sets of features of the same items that share a few latent directions, with unequal unit scales."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, latent))
    sides = []
    for width in (d, e):
        features = z @ rng.standard_normal((latent, width)) + noise * rng.standard_normal((n, width))
        sides.append((features * rng.uniform(0.1, 10, width) + rng.uniform(-5, 5, width)).astype(dtype))
    return sides
