"""Score extracted activations and write the report: `launch.reproduce` with --config.stage=score.

python -m launch.score --config=configs/captioned_folder.py ... --workdir=run    (the same flags as launch.extract)
"""

from launch import entry, reproduce

if __name__ == "__main__":
    entry.run(lambda: reproduce.main(stage="score"))
