"""The fields of rotary embedding, as transformers 4 and transformers 5 write them."""

import math
from collections.abc import Mapping
from typing import Any

from vla.models.fields import Fields
from vla.models.network_config import Rotary

# From the name of a scaling in a config to that of `Rotary.scaling`, for most families.
SCALINGS = {name: name for name in ("default", "dynamic", "linear", "llama3", "yarn")}


def read_rotary(
    fields: Fields,
    *,
    length: int,
    head_width: int,
    theta: float = 10_000.0,
    share: float | None = None,
    scalings: Mapping[str, str] = SCALINGS,
    original_length: int | None = None,
) -> Rotary:
    """Read `rope_parameters` (transformers 5), or `rope_scaling` and `rope_theta` (transformers 4).

    Args:
      fields: The fields of the model's config.
      length: Longest caption in tokens.
      head_width: Units per head.
      theta: The base if the config names none.
      share: Default fraction of a head that rotates; None if the family always rotates all of it.
      scalings: The scalings of the family, as `SCALINGS`.
      original_length: The length before extension, if it is outside these fields.

    Raises:
      ValueError: Both forms at once, an unknown scaling, or one whose fields are missing or inconsistent.
    """
    theta = fields.number("rope_theta", theta)
    share = _share(fields, share)
    new, old = fields.part("rope_parameters"), fields.part("rope_scaling")
    if new is not None and old is not None:
        raise ValueError(f"{fields.where} has both 'rope_parameters' and 'rope_scaling'; expected one of them")
    rope = new or old
    if rope is None:
        return _checked(Rotary(theta, share=1.0 if share is None else share), fields, head_width)
    return read_rope(rope, theta, share, scalings, length, head_width, original_length)


def read_rope(
    rope: Fields,
    theta: float,
    share: float | None,
    scalings: Mapping[str, str],
    length: int,
    head_width: int,
    original_length: int | None = None,
) -> Rotary:
    """Read all fields of the object itself; see `read_rotary`."""
    theta = rope.number("rope_theta", theta)
    share = _share(rope, share)
    legacy = rope.choice("type", tuple(scalings), "default")
    scaling = scalings[rope.choice("rope_type", tuple(scalings), legacy)]
    common: dict[str, Any] = {"theta": theta, "share": 1.0 if share is None else share}
    if scaling == "default":
        rotary = Rotary(**common)
    elif scaling == "dynamic":
        # It scales only captions beyond max_position_embeddings, which are refused.
        rope.ignore("factor", "original_max_position_embeddings")
        rotary = Rotary(**common)
    elif scaling == "linear":
        rotary = Rotary(scaling=scaling, factor=rope.number("factor"), **common)
    elif scaling == "llama3":
        low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
        if low >= high:
            raise ValueError(f"{rope.where}: low_freq_factor {low} must be below high_freq_factor {high}")
        original = rope.integer("original_max_position_embeddings", length)
        rotary = Rotary(
            scaling=scaling,
            factor=rope.number("factor"),
            low_frequency_factor=low,
            high_frequency_factor=high,
            original_length=original,
            **common,
        )
    elif scaling == "yarn":
        rotary = _yarn(rope, common, length)
    else:
        rotary = _longrope(rope, common, length, head_width, original_length)
    rope.finish()
    return _checked(rotary, rope, head_width)


def _share(fields: Fields, share: float | None) -> float | None:
    """The fraction of a head that rotates."""
    if share is None:
        fields.only("partial_rotary_factor", 1.0, "the family rotates every unit of a head")
        return None
    share = fields.number("partial_rotary_factor", share)
    assert share is not None
    if share > 1:
        raise ValueError(f"{fields.where}: partial_rotary_factor is {share}; expected at most 1")
    return share


def _yarn(rope: Fields, common: dict[str, Any], length: int) -> Rotary:
    """The fields of yarn; the gain defaults to Peng et al., arXiv:2309.00071, eq. 22."""
    original = rope.integer("original_max_position_embeddings", length)
    factor = rope.number("factor")
    gain = rope.number("attention_factor", None)
    over, under = rope.number("mscale", None), rope.number("mscale_all_dim", None)
    if gain is None:
        gain = _gain(factor, over) / _gain(factor, under) if over and under else _gain(factor, 1.0)
    fast, slow = rope.number("beta_fast", None) or 32.0, rope.number("beta_slow", None) or 1.0
    if fast < slow:
        raise ValueError(f"{rope.where}: beta_fast {fast} must not be below beta_slow {slow}")
    return Rotary(
        scaling="yarn",
        factor=factor,
        original_length=original,
        gain=gain,
        fast=fast,
        slow=slow,
        truncate=rope.flag("truncate", True),
        **common,
    )


def _gain(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _longrope(
    rope: Fields, common: dict[str, Any], length: int, head_width: int, original_length: int | None
) -> Rotary:
    """The fields of longrope, with one factor per pair of units."""
    stated_length = rope.integer("original_max_position_embeddings", length)
    original = stated_length if original_length is None else original_length
    factor = rope.number("factor", None) or length / original
    gain = rope.number("attention_factor", None)
    if gain is None:
        gain = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    short, long = rope.numbers("short_factor"), rope.numbers("long_factor")
    pairs = Rotary(**common).rotating_units(head_width) // 2
    for name, factors in (("short_factor", short), ("long_factor", long)):
        if len(factors) != pairs:
            raise ValueError(f"{rope.where}: {name!r} has {len(factors)} numbers; expected {pairs}, one per pair")
    return Rotary(
        scaling="longrope",
        factor=factor,
        original_length=original,
        gain=gain,
        short_factors=short,
        long_factors=long,
        **common,
    )


def _checked(rotary: Rotary, fields: Fields, head_width: int) -> Rotary:
    """Refuse heads whose rotating units are not pairs."""
    units = rotary.rotating_units(head_width)
    if units % 2 or not units:
        raise ValueError(
            f"{fields.where}: heads are {head_width} wide and {units} of their units rotate; rotary embedding needs an "
            "even number"
        )
    return rotary
