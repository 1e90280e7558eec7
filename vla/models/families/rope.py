"""The fields about rotary embedding, as transformers 4 and as transformers 5 write them."""

import math
from collections.abc import Mapping
from typing import Any

from vla.models.fields import Fields
from vla.models.rotary import Rotary, turning_units

# From what a config calls a way of stretching to `Rotary.kind`, of the families that know no other.
KINDS = {kind: kind for kind in ("default", "dynamic", "linear", "llama3", "yarn")}


def read_rotary(
    fields: Fields,
    *,
    length: int,
    head_width: int,
    theta: float = 10_000.0,
    share: float | None = None,
    kinds: Mapping[str, str] = KINDS,
    original_length: int | None = None,
) -> Rotary:
    """Read `rope_parameters` (transformers 5), or `rope_scaling` and `rope_theta` (transformers 4).

    Args:
      fields: The fields of the model's config.
      length: The longest caption, in tokens.
      head_width: Units per head.
      theta: The base where the config names none.
      share: The part of a head that turns where the config does not say; None where a family always turns all of it.
      kinds: What the family may be stretched by, as `KINDS`.
      original_length: The length before stretching, where it stands outside these fields.

    Raises:
      ValueError: Both forms at once, an unknown kind, a field of the kind that is missing or makes no sense.
    """
    theta = fields.number("rope_theta", theta)
    share = _share(fields, share)
    new, old = fields.part("rope_parameters"), fields.part("rope_scaling")
    if new is not None and old is not None:
        raise ValueError(f"{fields.where} has both 'rope_parameters' and 'rope_scaling'; expected one of them")
    rope = new or old
    if rope is None:
        return _checked(Rotary(theta, share=1.0 if share is None else share), fields, head_width)
    return read_rope(rope, theta, share, kinds, length, head_width, original_length)


def read_rope(
    rope: Fields,
    theta: float,
    share: float | None,
    kinds: Mapping[str, str],
    length: int,
    head_width: int,
    original_length: int | None = None,
) -> Rotary:
    """Read the object of fields itself, all of it; see `read_rotary`."""
    theta = rope.number("rope_theta", theta)
    share = _share(rope, share)
    legacy = rope.choice("type", tuple(kinds), "default")
    kind = kinds[rope.choice("rope_type", tuple(kinds), legacy)]
    known: dict[str, Any] = {"theta": theta, "share": 1.0 if share is None else share}
    if kind == "default":
        rotary = Rotary(**known)
    elif kind == "dynamic":
        # It stretches only captions beyond max_position_embeddings, and none is as long.
        rope.ignore("factor", "original_max_position_embeddings")
        rotary = Rotary(**known)
    elif kind == "linear":
        rotary = Rotary(kind=kind, factor=rope.number("factor"), **known)
    elif kind == "llama3":
        low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
        if low >= high:
            raise ValueError(f"{rope.where}: low_freq_factor {low} must be below high_freq_factor {high}")
        original = rope.whole("original_max_position_embeddings", length)
        rotary = Rotary(
            kind=kind,
            factor=rope.number("factor"),
            low_frequency_factor=low,
            high_frequency_factor=high,
            original_length=original,
            **known,
        )
    elif kind == "yarn":
        rotary = _yarn(rope, known, length)
    else:
        rotary = _longrope(rope, known, length, head_width, original_length)
    rope.finish()
    return _checked(rotary, rope, head_width)


def _share(fields: Fields, share: float | None) -> float | None:
    """The part of a head that turns."""
    if share is None:
        fields.only("partial_rotary_factor", 1.0, "the family turns every unit of a head")
        return None
    turning: float = fields.number("partial_rotary_factor", share)
    if turning > 1:
        raise ValueError(f"{fields.where}: the part of a head that turns is {turning}; expected at most 1")
    return turning


def _yarn(rope: Fields, known: dict[str, Any], length: int) -> Rotary:
    """The fields of yarn; what it does not name follows from the factor (Peng et al., arXiv:2309.00071, eq. 22)."""
    original = rope.whole("original_max_position_embeddings", length)
    factor = rope.number("factor")
    gain = rope.number("attention_factor", None)
    over, under = rope.number("mscale", None), rope.number("mscale_all_dim", None)
    if gain is None:
        gain = _gain(factor, over) / _gain(factor, under) if over and under else _gain(factor, 1.0)
    fast, slow = rope.number("beta_fast", None) or 32.0, rope.number("beta_slow", None) or 1.0
    if fast < slow:
        raise ValueError(f"{rope.where}: beta_fast {fast} must not be below beta_slow {slow}")
    return Rotary(
        kind="yarn",
        factor=factor,
        original_length=original,
        gain=gain,
        fast=fast,
        slow=slow,
        whole_pairs=rope.flag("truncate", True),
        **known,
    )


def _gain(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _longrope(rope: Fields, known: dict[str, Any], length: int, head_width: int, original_length: int | None) -> Rotary:
    """The fields of longrope, with one factor for every pair of units."""
    within = rope.whole("original_max_position_embeddings", length)
    original = within if original_length is None else original_length
    factor = rope.number("factor", None) or length / original
    gain = rope.number("attention_factor", None)
    if gain is None:
        gain = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    short, long = rope.numbers("short_factor"), rope.numbers("long_factor")
    pairs = turning_units(Rotary(**known), head_width) // 2
    for name, factors in (("short_factor", short), ("long_factor", long)):
        if len(factors) != pairs:
            raise ValueError(f"{rope.where}: {name!r} has {len(factors)} numbers; expected {pairs}, one per pair")
    return Rotary(
        kind="longrope",
        factor=factor,
        original_length=original,
        gain=gain,
        short_factors=short,
        long_factors=long,
        **known,
    )


def _checked(rotary: Rotary, fields: Fields, head_width: int) -> Rotary:
    """Refuse heads of which a half pair would turn."""
    units = turning_units(rotary, head_width)
    if units % 2 or not units:
        raise ValueError(
            f"{fields.where}: heads are {head_width} wide and {units} of their units turn; rotary embedding needs an "
            "even number"
        )
    return rotary
