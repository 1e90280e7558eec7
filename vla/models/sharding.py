"""Which axis of a weight is cut where several devices share one copy of a network.

Axes: V vocabulary, D width, E output width, F inner width, X experts.
"""

# Maps back to the width: their inputs are what the maps before them have spread over the devices.
_BACK = (".out.weight", ".down.weight", ".down")
_FORTH = (
    "query.weight",
    "key.weight",
    "value.weight",
    "gate.weight",
    "up.weight",
    "feed_forward.gate",
    "feed_forward.up",
)


def sharded_axis(path: str, shape: tuple[int, ...], parts: int) -> int | None:
    """The axis of one block's parameter, or of one outside the blocks, that `parts` devices share; None for none.

    As in Megatron-LM (Shoeybi et al., arXiv:1909.08053): maps into attention and into the feed-forward network are
    cut by their outputs, maps back by their inputs, so that one sum over the devices per branch is all they exchange;
    the table of token embeddings is cut by the vocabulary. What does not divide is held whole by each.

    Args:
      path: Dotted attributes of the network.
      shape: [E, D] of maps, [X, E, D] of experts', [V, D] of the table.
      parts: How many devices share a copy.
    """
    if parts == 1:
        return None
    axis = None
    if path == "embedding":
        axis = 0
    elif path.endswith(_BACK):
        axis = len(shape) - 1
    elif path.endswith(_FORTH):
        axis = len(shape) - 2
    return axis if axis is not None and shape[axis] % parts == 0 else None
