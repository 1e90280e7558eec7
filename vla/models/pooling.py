"""From the hidden states of all tokens to one vector per item.

Axes: B batch, T tokens, D width.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

# The first of each is the default. `tokens`, which keeps every token, is for inspection and tests.
VISION_POOLS = ("cls", "mean")
LANGUAGE_POOLS = ("mean", "mean_no_bos", "last")

Pool = Callable[[Array], Array]


def every_token(hidden: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """All tokens as they are, in float32."""
    return hidden.astype(jnp.float32)


def mean_over(hidden: Float[Array, "B T D"], chosen: Bool[Array, "B T"]) -> Float[Array, "B D"]:
    """Mean over the chosen tokens in float32; zeros where none is chosen, as in rows that only fill a batch."""
    # where and not a product: an unchosen token may hold anything, and 0 * NaN is NaN
    kept = jnp.where(chosen[..., None], hidden.astype(jnp.float32), 0.0)
    return kept.sum(1) / jnp.maximum(chosen.sum(1), 1)[:, None]


def last_of(hidden: Float[Array, "B T D"], chosen: Bool[Array, "B T"]) -> Float[Array, "B D"]:
    """The last chosen token in float32, wherever the padding is."""
    T = hidden.shape[1]
    last = jnp.where(chosen, jnp.arange(T), 0).max(1)
    return jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0].astype(jnp.float32)


def vision_pool(name: str, prefix: int) -> Pool:
    """The pool of that name for tokens in the order class token, other prefix tokens, patches.

    Args:
      name: "cls", "mean" (over patches only) or "tokens".
      prefix: Number of tokens before the first patch: the class token and the registers.
    """
    if name == "cls":
        return lambda hidden: hidden[:, 0].astype(jnp.float32)
    if name == "mean":
        return lambda hidden: hidden[:, prefix:].astype(jnp.float32).mean(1)
    assert name == "tokens", name
    return every_token


def language_pool(name: str, tokens: Int[Array, "B T"], mask: Bool[Array, "B T"], bos: int | None) -> Pool:
    """The pool of that name for captions.

    Args:
      name: "mean", "mean_no_bos", "last" or "tokens".
      tokens: Token ids.
      mask: True at tokens, False at padding.
      bos: Id of the token that may open a sequence; None where the tokenizer has none.
    """
    if name == "mean":
        return lambda hidden: mean_over(hidden, mask)
    if name == "mean_no_bos":
        opening = mask & (jnp.cumsum(mask, axis=1) == 1)
        rest = mask if bos is None else mask & ~(opening & (tokens == bos))
        return lambda hidden: mean_over(hidden, rest)
    if name == "last":
        return lambda hidden: last_of(hidden, mask)
    assert name == "tokens", name
    return every_token
