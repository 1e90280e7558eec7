"""Train one of the microworld's small models.

    python -m launch.train --config=configs/microworld/llama.py --workdir=training

Scenes are drawn once and shared by all trainings of a workdir. A killed run goes on where it was. It ends by naming the
folder of the model, which has its losses beside it.
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/microworld/llama.py", "training")


def main() -> None:
    """Flags to settings to a trained model."""
    from vla.microworld.training import Settings, train

    print(train(Settings(**CONFIG.value.to_dict()), entry.directory(WORKDIR.value), show_progress=True))


if __name__ == "__main__":
    entry.run(main)
