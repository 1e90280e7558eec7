"""OLMo and OLMo 2: norms that are not learned, norms behind the branches."""

from tests.language_checkpoints import write_family
from tests.models.families.tables import parameters
from vla.models.families.olmo import read_olmo
from vla.models.fields import Fields


def test_where_norms_are(tmp_path):
    for kind in ("olmo", "olmo2"):
        write_family(tmp_path / kind, kind)
    one, two = parameters(tmp_path / "olmo"), parameters(tmp_path / "olmo2")
    assert not [path for path in one if "norm" in path]
    norms = {"final_norm", *(f"blocks.{name}" for name in ("post_norm1", "post_norm2"))}
    norms |= {f"blocks.attention.{name}_norm" for name in ("query", "key")}
    assert {path.removesuffix(".scale") for path in two if "norm" in path} == norms
    # all heads together: 4 of queries and 2 of keys, 8 units each
    assert two["blocks.attention.query_norm.scale"].shape == (32,)
    assert two["blocks.attention.key_norm.scale"].shape == (16,)


def test_clipping_is_read():
    assert read_olmo(Fields({"clip_qkv": 8.0}, "config.json")).qkv_clip == 8.0
    assert read_olmo(Fields({"clip_qkv": None}, "config.json")).qkv_clip is None
