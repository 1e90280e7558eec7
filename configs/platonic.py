"""The Platonic Representation Hypothesis, core figure: alignment against the size or the loss of language models.

Question: do larger or better language models align better with vision models (Huh et al., 2024)?
Cost: `--dry_run` estimates it. The default models need some 120 GB of disk.
Expect: the best pair of layers of every pair of models, by mutual k-nearest neighbours (k = 10), rises with the size of
the language model and falls with its loss.

    python -m launch.reproduce --config=configs/platonic.py --config.data.path=coco --workdir=platonic --dry_run
    python -m launch.reproduce --config=configs/platonic.py:microworld --workdir=platonic_drawn

Argument: microworld takes the checkpoints along training that come with the package, and the scenes that the quick
start has drawn in `workdir`: run `python -m launch.reproduce` first, or name them by --config.data.path.
"""

from ml_collections import ConfigDict

from configs import parts

WEIGHTS = "vla/microworld/weights"


def get_config(arg: str = "") -> ConfigDict:
    """Settings; documented in `vla.experiments.study` and `vla.paper.platonic`."""
    if arg not in ("", "microworld"):
        raise ValueError(f"Unknown argument {arg!r}; expected '' or 'microworld'.")
    config = parts.run()
    config.paper = "platonic"
    config.title = "The Platonic Representation Hypothesis: alignment against size and loss"
    config.experiments = ("Size", "Loss")
    config.metrics = ("mutual_knn",)
    config.settings = parts.settings()
    config.content = parts.content()
    if arg == "microworld":
        config.note = "Drawn scenes and small models: an illustration, and no evidence about large models."
        config.data = parts.data("coco_val2017", n="all")
        config.data.path = "workdir/microworld/world-500-42/coco"
        config.vision = tuple(f"{WEIGHTS}/{name}" for name in ("micro-dinov2", "micro-vit"))
        steps = tuple(f"micro-llama@{step}={WEIGHTS}/micro-llama-step{step}" for step in (40, 150, 500))
        config.language = (*steps, f"{WEIGHTS}/micro-llama", f"{WEIGHTS}/micro-bloom")
        return config
    config.data = parts.data("coco_val2017", n=1024)
    config.vision = tuple(f"facebook/dinov2-{size}" for size in ("small", "base", "large", "giant"))
    config.language = (
        *(f"bigscience/bloomz-{size}" for size in ("560m", "1b1", "1b7", "3b", "7b1")),
        *(f"openlm-research/open_llama_{size}" for size in ("3b", "7b", "13b")),
    )
    return config
