"""Extract every layer's activations of the configured models on the configured items into the store.

    python -m launch.extract --config=configs/captioned_folder.py --config.folder=photos \
        --config.vision_models=facebook/dinov2-base --config.language_models=path/to/llama --workdir=run
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/captioned_folder.py", "workdir")


def main() -> None:
    """Flags to plan to extraction."""
    from vla.experiments.layer_map import LayerMap, extract_all, open_store

    plan = LayerMap(**CONFIG.value.to_dict())
    for place in extract_all(plan, open_store(plan, entry.directory(WORKDIR.value))):
        print(place)


if __name__ == "__main__":
    entry.run(main)
