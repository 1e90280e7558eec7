"""How gradients become steps: Muon for the matrices of blocks, Adam for everything else.

Axes: L blocks, E outputs, D inputs.
"""

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from vla.microworld.training.settings import Settings
from vla.microworld.training.task import Tree

# Muon's steps have this root mean square, which is Adam's, so that one learning rate serves both.
_LIKE_ADAM = 0.2


def make_optimizer(settings: Settings) -> Any:
    """Steps of a rate that rises linearly and falls with a cosine; gradients of norm 1 at most; decay of matrices.

    Muon takes the nearest orthogonal matrix to the momentum of each matrix (Jordan et al. 2024,
    kellerjordan.github.io/posts/muon; scaled as by Liu et al. 2025, arXiv:2502.16982). Embeddings, positions, norms,
    biases and heads are Adam's (Kingma and Ba, arXiv:1412.6980). Both look ahead as Nesterov's momentum does.
    """
    warmup = min(settings.warmup, settings.steps // 2)
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, warmup, settings.steps)
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        muon(
            rate,
            weight_decay=settings.weight_decay,
            adam_b2=0.98,
            muon_weight_dimension_numbers=matrices_of_blocks,
            consistent_rms=_LIKE_ADAM,
        ),
    )


def matrices_of_blocks(tree: Tree) -> Tree:
    """Of each stack of matrices [L, E, D] in blocks, which axes are outputs and inputs; None of all other leaves."""

    def of(path: Any, leaf: Any) -> MuonDimensionNumbers | None:
        stacked = any(getattr(key, "key", None) == "blocks" for key in path)
        return MuonDimensionNumbers(reduction_axis=2, output_axis=1) if stacked and leaf.ndim == 3 else None

    return jax.tree.map_with_path(of, tree)
