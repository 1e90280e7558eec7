"""Colours for what is taken out of an image."""

from PIL import ImageColor

from vla.stimuli.manipulation import Parameter

FILLS = {
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    # ImageNet's mean colour, 255 * (0.485, 0.456, 0.406): what most vision models subtract, so they see zeros.
    "mean": (124, 116, 104),
}


def fill_parameter(words: str) -> Parameter:
    """A parameter that takes a fill: black (the default), gray, mean or any colour."""
    return Parameter(
        "black",
        f"{words}: black, gray (128), mean (ImageNet's, 124 116 104) or #rrggbb",
        choices=tuple(FILLS),
        pattern="#[0-9a-fA-F]{6}",
    )


def fill_colour(fill: str) -> tuple[int, int, int]:
    """Red, green and blue, 0..255, of a fill.

    Raises:
      ValueError: it is neither a name of FILLS nor "#rrggbb".
    """
    if fill in FILLS:
        return FILLS[fill]
    try:
        red, green, blue = ImageColor.getrgb(fill)[:3]
    except ValueError as error:
        raise ValueError(
            f"fill {fill!r}; expected one of {', '.join(sorted(FILLS))}, or a colour as #rrggbb"
        ) from error
    return red, green, blue
