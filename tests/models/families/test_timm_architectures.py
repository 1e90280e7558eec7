"""Arguments that follow from a name, against sizes in the papers; tests/models/test_timm.py has timm's own for all."""

import pytest

from vla.models.families.timm import ARCHITECTURES


@pytest.mark.parametrize(
    "name, width, depth, heads, patch, inner",
    [
        ("vit_base_patch32_224", 768, 12, 12, 32, 3072),  # arXiv:2010.11929, table 1
        ("vit_huge_patch14_224", 1280, 32, 16, 14, 5120),
        ("vit_giant_patch14_224", 1408, 40, 16, 14, 6144),  # arXiv:2106.04560, table 2
        ("vit_gigantic_patch14_224", 1664, 48, 16, 14, 8192),
        ("vit_so400m_patch14_siglip_384", 1152, 27, 16, 14, 4304),  # arXiv:2305.13035
        ("deit_tiny_distilled_patch16_224", 192, 12, 3, 16, 768),  # arXiv:2012.12877, table 1
        ("vit_giant_patch14_reg4_dinov2", 1536, 40, 24, 14, 8192),  # arXiv:2304.07193: 2 x 4096, gate and up
    ],
)
def test_sizes_are_the_published_ones(name, width, depth, heads, patch, inner):
    found = ARCHITECTURES[name]
    assert (found["embed_dim"], found["depth"], found["num_heads"], found["patch_size"]) == (width, depth, heads, patch)
    assert int(found["embed_dim"] * found["mlp_ratio"]) == inner


def test_what_a_name_says_is_in_its_arguments():
    for name, arguments in ARCHITECTURES.items():
        assert arguments["embed_dim"] % arguments["num_heads"] == 0, name
        assert f"_patch{arguments['patch_size']}_" in f"{name}_"
        assert ("distilled" in name) is arguments.get("distilled", False), name
        assert ("reg4" in name) is (arguments.get("reg_tokens") == 4), name
        assert ("_gap_" in name or "siglip" in name) is not arguments.get("class_token", True), name
        assert ("dinov2" in name) is (arguments.get("init_values") == 1e-5 and arguments.get("class_token", True)), name
