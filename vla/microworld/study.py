"""Lays out the drawn world and its untrained models in a folder, ready for the layer map."""

from pathlib import Path

from vla.microworld.checkpoints import UntrainedCheckpoints, write_untrained_checkpoints
from vla.microworld.dataset import write_microworld
from vla.stimuli import read_captioned_folder

NOTE = (
    "This is the quick start: drawn scenes and two untrained, randomly initialised models. It shows what vla does and "
    "what its output looks like; it is no evidence about trained models."
)


def prepare(workdir: Path, n: int, seed: int) -> tuple[Path, UntrainedCheckpoints]:
    """Write `n` scenes and two checkpoints under `workdir/microworld`, unless they are there.

    Returns:
      The dataset's folder and the checkpoints.
    """
    folder = write_microworld(workdir / "microworld" / f"scenes-{n}-{seed}", n, seed)
    captions = [caption for item in read_captioned_folder(folder).items for caption in item.captions]
    return folder, write_untrained_checkpoints(workdir / "microworld" / f"models-{n}-{seed}", captions, seed)
