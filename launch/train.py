"""Train one of the microworld's small models.

    python -m launch.train --config=configs/microworld/llama.py --workdir=training

Scenes are drawn once and shared by all trainings in a workdir. An interrupted run resumes. At the end it prints the
folder of the model, which also has its losses.
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/microworld/llama.py", "training")


def main() -> None:
    """Flags to settings to a trained model."""
    from examples.microworld_training import Settings, train

    print(train(Settings(**CONFIG.value.to_dict()), entry.directory(WORKDIR.value), show_progress=True))


if __name__ == "__main__":
    entry.run(main)
