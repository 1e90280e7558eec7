"""Where the registers of third-party checkpoints, datasets and generators are."""

from pathlib import Path


def register_path(name: str) -> Path:
    """The file of a register, such as "checkpoints.toml".

    An installed package holds the registers as its own data (`vla/third_party`). In a checkout of the repository they
    are in `third_party`, where people read them.
    """
    installed = Path(__file__).with_name("third_party") / name
    return installed if installed.is_file() else Path(__file__).parents[1] / "third_party" / name
