"""The sizes and options of the two networks: a vision encoder and a decoder, whatever family a checkpoint is of.

Letters: D width, L blocks, H query heads, K key-value heads, C width of a head, V vocabulary, P side of a patch or
pairs of rotating units, G side of the position grid in patches, R registers.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Rotary:
    """How the frequencies of rotary position embedding follow from a config.

    Attributes:
      theta: Base of the geometric series of wavelengths.
      scaling: "default"; "linear" divides all frequencies by `factor`; "llama3" and "yarn" divide the low ones only,
        each with its own ramp; "longrope" divides each frequency by a factor of its own.
      factor: By how much the context is extended.
      low_frequency_factor: llama3: wavelengths above `original_length` / this are scaled fully.
      high_frequency_factor: llama3: wavelengths below `original_length` / this are unchanged.
      original_length: llama3, yarn, longrope: context length before extension, in tokens.
      share: Fraction of a head's units, from the first, that rotate.
      gain: yarn, longrope: factor of cosines and sines.
      fast: yarn: pairs that rotate more often than this in `original_length` are unchanged.
      slow: yarn: pairs that rotate less often than this in `original_length` are scaled fully.
      truncate: yarn: whether both bounds are rounded outwards to integer pairs.
      short_factors: longrope: P divisors of the frequencies, for captions of up to `original_length`.
      long_factors: longrope: the same for longer captions.
    """

    theta: float = 10_000.0
    scaling: str = "default"
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_length: int = 8192
    share: float = 1.0
    gain: float = 1.0
    fast: float = 32.0
    slow: float = 1.0
    truncate: bool = True
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def rotating_units(self, head_width: int) -> int:
        """2 P: how many units of a head rotate."""
        return int(head_width * self.share)


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Sizes and options of `decoder.Decoder`; the defaults are LLaMA's.

    Attributes:
      width: D.
      depth: L.
      heads: H, a multiple of `kv_heads`.
      kv_heads: K.
      head_width: C; H * C need not be D.
      inner: Width of the inner layer of the feed-forward network.
      nonlinearity: Key of `linear.NONLINEARITIES`.
      norm_epsilon: Added to every mean square or variance.
      vocabulary: V.
      length: Longest caption in tokens.
      rotary: Rotary position embedding; None for none.
      attention_bias: Whether the maps to queries, keys and values have biases.
      feed_forward_bias: Whether the maps of the feed-forward network have biases.
      out_bias: Whether the output map of attention has a bias.
      gated: Whether the feed-forward network is gated.
      norm: Key of `linear.NORMS`.
      local_rotary: Rotary embedding of sliding blocks, where it differs.
      alibi: Whether scores fall linearly with distance (Press et al., arXiv:2108.12409).
      learned_positions: Whether a learned vector per position is added to the embeddings.
      embedding_scale: Factor of the embeddings, rounded to the dtype of compute.
      embedding_norm: Whether a norm precedes the first block.
      pre_norm: Whether a norm precedes attention and the feed-forward network.
      post_norm: Whether a norm follows each of them, before the residual sum.
      residual_of_norm: Whether a branch is added to the result of the pre-norm instead of its input.
      parallel: Whether the feed-forward network reads the input of attention instead of its output.
      qk_norm: "head" normalises each head of queries and keys, "width" all heads together, "" none.
      qkv_clip: Clip queries, keys and values to [-qkv_clip, qkv_clip]; None for no clipping.
      attention_scale: Factor of the scores; None for 1 / sqrt(C).
      scale_by_block: Whether the scores of block i (from 1) are also divided by i.
      score_cap: Scores s become score_cap * tanh(s / score_cap); None for no cap.
      window: Tokens that a token of a sliding block attends to, itself included; without a causal mask, how many to
        either side of itself; None for all.
      sliding: Whether each of the L blocks is a sliding one; () for none.
      causal: Whether a token attends only to itself and the tokens before it.
      experts: Feed-forward networks per block; 0 for a single one that every token goes through.
      experts_per_token: How many experts a token goes through.
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


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Sizes and options of `vision_encoder.VisionEncoder`; the defaults are ViT's.

    Attributes:
      width: D.
      depth: L.
      heads: H; divides `width`.
      inner: Width of the inner layer of the feed-forward network.
      nonlinearity: Key of `linear.NONLINEARITIES`.
      norm_epsilon: Added to every variance.
      patch: P, in pixels.
      grid: G, the image size of training divided by P.
      channels: Channels of the pixels.
      gated: Whether the feed-forward network is gated (SwiGLU).
      class_token: Whether a class token comes first.
      distillation_token: Whether a distillation token follows it.
      registers: R, tokens between those and the patches.
      prefix_positions: How many of the tokens before the patches, from the first, have position embeddings; None if
        neither they nor the patches have any.
      antialias: Which bicubic kernel resizes the position grid to other image sizes.
      rotary_theta: Base of the rotary embedding of patches; None for none.
      patch_bias: Whether the map from pixels to tokens has a bias.
      embedding_norm: Whether a norm precedes the first block.
      query_bias: Whether the map to queries has a bias.
      key_bias: Whether the map to keys has a bias.
      value_bias: Whether the map to values has a bias.
      out_bias: Whether the output map of attention has a bias.
      feed_forward_bias: Whether the maps of the feed-forward network have biases.
      layer_scale: Whether each branch is multiplied by a learned vector before the residual sum.
    """

    width: int
    depth: int
    heads: int
    inner: int
    nonlinearity: str
    norm_epsilon: float
    patch: int
    grid: int
    channels: int
    gated: bool = False
    class_token: bool = True
    distillation_token: bool = False
    registers: int = 0
    prefix_positions: int | None = 1
    antialias: bool = False
    rotary_theta: float | None = None
    patch_bias: bool = True
    embedding_norm: bool = False
    query_bias: bool = True
    key_bias: bool = True
    value_bias: bool = True
    out_bias: bool = True
    feed_forward_bias: bool = True
    layer_scale: bool = False

    @property
    def prefix(self) -> int:
        """Number of tokens before the first patch."""
        return self.class_token + self.distillation_token + self.registers

    @property
    def pools(self) -> tuple[str, ...]:
        """The ways to pool that its tokens allow; the first is the default."""
        first = ("cls",) if self.class_token else ()
        return (*first, "mean", *(("distillation",) if self.distillation_token else ()))
