"""Captions that tokenizers stumble over, and a tokenizer for any of them."""

import json
from pathlib import Path

import numpy as np

from tests.models.real_data import real_data
from vla.models.families import FAMILIES
from vla.models.network_config import DecoderConfig, Rotary
from vla.models.tokenizer import Tokenizer

ROOMY = DecoderConfig(
    width=8,
    depth=1,
    heads=1,
    kv_heads=1,
    head_width=8,
    inner=8,
    nonlinearity="silu",
    norm_epsilon=1e-6,
    vocabulary=200_000,
    length=1024,
    rotary=Rotary(),
    attention_bias=False,
    feed_forward_bias=False,
)


# What tokenizers stumble over; {} is a caption.
HABITS = (
    "{}",
    " {}",
    "{}  twice   as much ",
    "1,234 {} 567890 2½ ٣",
    "{} 😀 👩‍👩‍👧 🏳️‍🌈",
    "“{}” — it’s ‘here’ …",
    "two dogs &amp; &quot;{}&quot; &#39;s &lt;b&gt;",
    "\t{}\n\nnext\r\nline",
    "Ça va? {} naïve ﬁsh ＤＯＧ ½ Straße Ångström e\u0301",
    "一只黑狗 {} собака そして كلب ไทย",
    "{}\u00a0\u200b\u3000end",
    "DON'T we'll 'S {} I'VE",
    "▁{} ▁▁ _ __",
    "{} <unk> <pad> [MASK] {{}} \\n \x00",
)


def awkward_captions(n: int = 1000) -> list[str]:
    """Captions of Flickr8k, each with something that tokenizers stumble over."""
    lines = real_data("data", "flickr8k", "captions.txt").read_text(encoding="utf-8").splitlines()[1 : n + 1]
    short = ["a", ".", "  x", "0", "😀", "é", "'s", "\u00a0a", "a\n"]
    captions = [HABITS[i % len(HABITS)].format(line.split(",", 1)[1]) for i, line in enumerate(lines)]
    return captions[: n - len(short)] + short


def read(directory: Path, family: str = "llama") -> Tokenizer:
    return Tokenizer(directory, ROOMY, FAMILIES[family].tokenizer or "")


def rows(ids: list[np.ndarray]) -> list[list[int]]:
    return [row.tolist() for row in ids]


def write_config(directory: Path, **fields) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))
