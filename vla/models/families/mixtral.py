"""Mixtral: Mistral with eight feed-forward networks per block, of which a token takes two (arXiv:2401.04088)."""

from vla.models.decoder_config import DecoderConfig
from vla.models.families.family import Family, Row
from vla.models.families.llama_layout import PREFIXES, UNUSED, attention_rows, norm_rows, read_shape
from vla.models.families.rope import read_rotary
from vla.models.fields import Fields
from vla.models.nonlinearities import NONLINEARITIES


def read_mixtral(fields: Fields) -> DecoderConfig:
    """Read a config with `model_type` mixtral; defaults are those of transformers' MixtralConfig."""
    fields.ignore("output_router_logits", "router_aux_loss_coef", "router_jitter_noise")
    shape = read_shape(fields, inner=14336, kv_heads=8, length=4096 * 32)
    window = fields.whole("sliding_window", None)
    experts, per_token = fields.whole("num_local_experts", 8), fields.whole("num_experts_per_tok", 2)
    if per_token > experts:
        raise ValueError(f"{fields.where}: num_experts_per_tok {per_token} is more than num_local_experts {experts}")
    return DecoderConfig(
        **shape,
        nonlinearity=fields.choice("hidden_act", tuple(NONLINEARITIES), "silu"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-5),
        rotary=read_rotary(fields, length=shape["length"], head_width=shape["head_width"], theta=1e6),
        attention_bias=False,
        feed_forward_bias=False,
        window=window,
        sliding=(window is not None,) * shape["depth"],
        experts=experts,
        experts_per_token=per_token,
    )


def mixtral_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names as published: three tensors per expert."""
    names, path = "layers.{}.block_sparse_moe", "blocks.feed_forward"
    return (
        *_outside_experts(config, names),
        Row(f"{names}.experts.{{expert}}.w1.weight", f"{path}.gate", experts=config.experts),
        Row(f"{names}.experts.{{expert}}.w2.weight", f"{path}.down", experts=config.experts),
        Row(f"{names}.experts.{{expert}}.w3.weight", f"{path}.up", experts=config.experts),
    )


def fused_mixtral_table(config: DecoderConfig) -> tuple[Row, ...]:
    """Names as transformers 5 holds them in memory: two tensors for all experts."""
    names, path = "layers.{}.mlp", "blocks.feed_forward"
    return (
        *_outside_experts(config, names),
        Row(f"{names}.experts.gate_up_proj", f"{path}.gate", part=(0, 2), axis=1),
        Row(f"{names}.experts.gate_up_proj", f"{path}.up", part=(1, 2), axis=1),
        Row(f"{names}.experts.down_proj", f"{path}.down"),
    )


def _outside_experts(config: DecoderConfig, names: str) -> tuple[Row, ...]:
    return (
        Row("embed_tokens.weight", "embedding"),
        *attention_rows(config),
        Row(f"{names}.gate.weight", "blocks.feed_forward.router.weight"),
        *norm_rows(),
    )


MIXTRAL = Family(
    read=read_mixtral,
    table=mixtral_table,
    prefixes=PREFIXES,
    unused=UNUSED,
    tokenizer="LlamaTokenizer",
    other_tables=(fused_mixtral_table,),
)
