"""From the hidden states of all tokens to one vector per item and pool.

Axes: B batch, T tokens, D width, S vectors wanted of one row of a batch.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

# The first is the default. `tokens`, which keeps every token, is for inspection and tests.
LANGUAGE_POOLS = ("mean", "mean_no_bos", "last")

Pool = Callable[[Array], Array]

# Pools of images that are one token, and where it stands.
_SINGLE = {"cls": 0, "distillation": 1}


def every_token(hidden: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """All tokens as they are, in float32."""
    return hidden.astype(jnp.float32)


def vision_pool(name: str, prefix: int) -> Pool:
    """The pool of that name for tokens in the order class token, distillation token, registers, patches.

    Args:
      name: "cls", "distillation", "mean" (over patches only) or "tokens".
      prefix: Number of tokens before the first patch.
    """
    if name in _SINGLE:
        return lambda hidden: hidden[:, _SINGLE[name]].astype(jnp.float32)
    if name == "mean":
        return lambda hidden: hidden[:, prefix:].astype(jnp.float32).mean(1)
    assert name == "tokens", name
    return every_token


def tokens_read(names: Sequence[str]) -> int | None:
    """How many tokens, from the first, vision pools of these names look at; None for all."""
    return 1 + max(_SINGLE[name] for name in names) if names and all(name in _SINGLE for name in names) else None


def caption_weights(name: str, tokens: Int[np.ndarray, "T"], bos: int | None) -> Float[np.ndarray, "T"]:
    """What each token of a caption counts in the pool of that name; zeros of a caption without such tokens.

    Args:
      name: "mean", "mean_no_bos" or "last".
      tokens: Token ids of the caption, without padding.
      bos: Id of the token that may open a sequence; None where the tokenizer has none.
    """
    counted = np.ones(len(tokens), np.float32)
    if name == "mean_no_bos":
        counted[0] = bos is None or tokens[0] != bos
    elif name == "last":
        counted[:-1] = 0
    else:
        assert name == "mean", name
    return counted / max(counted.sum(), 1)


def weighted(weights: Float[Array, "B S T"]) -> Pool:
    """The pool that takes S weighted sums over the tokens of a row, in float32.

    A token of weight 0 counts for nothing whatever it holds, where 0 * NaN would be NaN; a token that counts and is
    not finite makes its sums NaN.
    """

    def pool(hidden: Float[Array, "B T D"]) -> Float[Array, "B S D"]:
        wide = hidden.astype(jnp.float32)
        finite = jnp.isfinite(wide)
        sums = jnp.einsum("bst,btd->bsd", weights, jnp.where(finite, wide, 0))
        lost = jnp.any((weights != 0) & ~finite.all(-1)[:, None], axis=-1)
        return jnp.where(lost[..., None], jnp.nan, sums)

    return pool
