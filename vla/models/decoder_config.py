"""What distinguishes one causal decoder from another, whatever its family.

Letters: D width, L blocks, H query heads, K key-value heads, C width of a head, V vocabulary.
"""

import dataclasses

from vla.models.rotary import Rotary


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """What the mathematics of the decoder needs, and no more; the defaults are LLaMA's.

    Attributes:
      width: D.
      depth: L.
      heads: H, a multiple of `kv_heads`.
      kv_heads: K.
      head_width: C; H * C need not be D.
      inner: Width of the feed-forward network's inner layer.
      nonlinearity: Key of `nonlinearities.NONLINEARITIES`.
      norm_epsilon: Added to every mean square or variance.
      vocabulary: V.
      length: The longest caption in tokens.
      rotary: How positions turn queries and keys; None where they do not.
      attention_bias: Whether the maps to queries, keys and values have biases.
      feed_forward_bias: Whether the maps of the feed-forward network have biases.
      out_bias: Whether the map out of attention has a bias.
      gated: Whether the feed-forward network is gated.
      norm: Key of `linear.NORMS`.
      local_rotary: The rotary embedding of sliding blocks where it is not that of the others.
      alibi: Whether scores fall linearly with distance (Press et al., arXiv:2108.12409).
      learned_positions: Whether a learned vector per position is added to the embeddings.
      embedding_scale: Factor of the embeddings, rounded to the dtype of compute.
      embedding_norm: Whether a norm stands before the first block.
      pre_norm: Whether a norm stands before attention and before the feed-forward network.
      post_norm: Whether a norm stands after each of them, before it is added.
      residual_of_norm: Whether the pre-norm's result, and not its argument, is what a branch is added to.
      parallel: Whether the feed-forward network reads what attention reads, and not what attention gave.
      qk_norm: "head" normalises each head of queries and keys, "width" all heads together, "" none.
      qkv_clip: Queries, keys and values are clipped to [-qkv_clip, qkv_clip]; None for not at all.
      attention_scale: Factor of the scores; None for 1 / sqrt(C).
      scale_by_block: Whether the scores of block i (from 1) are divided by i besides.
      score_cap: Scores s become score_cap * tanh(s / score_cap); None for not at all.
      window: How many tokens, itself included, a token of a sliding block sees; without a causal mask, how many on
        either side of itself; None for all.
      sliding: Whether each of the L blocks is a sliding one; () where none is.
      causal: Whether a token sees only itself and the tokens before it, and not all of its caption.
      experts: Number of feed-forward networks per block; 0 where there is one that every token goes through.
      experts_per_token: How many of the experts a token goes through.
    """

    width: int
    depth: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    nonlinearity: str
    norm_epsilon: float
    vocabulary: int
    length: int
    rotary: Rotary | None
    attention_bias: bool
    feed_forward_bias: bool
    out_bias: bool = False
    gated: bool = True
    norm: str = "rms"
    local_rotary: Rotary | None = None
    alibi: bool = False
    learned_positions: bool = False
    embedding_scale: float = 1.0
    embedding_norm: bool = False
    pre_norm: bool = True
    post_norm: bool = False
    residual_of_norm: bool = False
    parallel: bool = False
    qk_norm: str = ""
    qkv_clip: float | None = None
    attention_scale: float | None = None
    scale_by_block: bool = False
    score_cap: float | None = None
    window: int | None = None
    sliding: tuple[bool, ...] = ()
    causal: bool = True
    experts: int = 0
    experts_per_token: int = 0
