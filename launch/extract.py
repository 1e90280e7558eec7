"""Extract every layer's activations of the configured models on the configured items into the store.

    python -m launch.extract --config=configs/captioned_folder.py --config.folder=photos \
        --config.vision_models=facebook/dinov2-base --config.language_models=path/to/llama --workdir=run

Models larger than memory: --config.stream=True, which reads their blocks one at a time. Several machines that see the
same working directory share the items: on each of them the same command with --coordinator=auto under SLURM or on Cloud
TPU, elsewhere with --coordinator=host:port --processes=2 --process=0 (on the second --process=1).
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/captioned_folder.py", "workdir")
join = entry.define_processes()


def main() -> None:
    """Flags to plan to extraction."""
    from vla import devices
    from vla.experiments.layer_map import LayerMap, extract_all, open_store

    join()
    plan = LayerMap(**CONFIG.value.to_dict())
    first = devices.this_process()[0] == 0
    for place in extract_all(plan, open_store(plan, entry.directory(WORKDIR.value)), show_progress=first):
        if first:
            print(place)


if __name__ == "__main__":
    entry.run(main)
