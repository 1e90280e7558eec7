"""Compute the CLIP Score of every caption with its image.

    python -m launch.clip_score --config.directory=flickr8k --workdir=run

The scores are cached in `run/clip_score`, a parquet table of item, caption and score; the last line names the folder.
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/clip_score.py", "workdir")


def main() -> None:
    """From flags to a dataset, a CLIP model and scores."""
    from launch import datasets
    from vla.activations.clip_score import clip_score
    from vla.experiments.names import field_names
    from vla.models import load_clip

    config = CONFIG.value.to_dict()
    dataset = datasets.read(config)
    clip = load_clip(config["model"], config["dtype"], ignore_fields=field_names(config["ignore_fields"]))
    folder = entry.directory(WORKDIR.value) / "clip_score"
    scores = clip_score(clip, dataset, cache=folder, show_progress=True, **config["score"])
    spread = scores.max("caption") - scores.min("caption")
    print(f"{scores.notnull().sum().item()} captions of {len(dataset)} items: mean {scores.mean().item():.3f}")
    print(f"best minus worst caption of an item: mean {spread.mean().item():.3f}")
    print(folder)


if __name__ == "__main__":
    entry.run(main)
