"""Extract the activations that a study needs into its store: `launch.reproduce` with --config.stage=extract.

    python -m launch.extract --config=configs/captioned_folder.py --config.data.path=flickr8k \
        --config.vision=facebook/dinov2-base --config.language=HuggingFaceTB/SmolLM2-1.7B --workdir=run
"""

from launch import entry, reproduce

if __name__ == "__main__":
    entry.run(lambda: reproduce.main(stage="extract"))
