"""Generate paraphrases or synthetic images of the items of a dataset; an interrupted run resumes.

    python -m launch.generate --config=configs/paraphrases.py --config.directory=flickr8k --dry_run
    python -m launch.generate --config=configs/synthetic_images.py --config.directory=flickr8k

The last line is the folder for `vla.stimuli.generators.with_paraphrases` or `with_synthetic`.
"""

from typing import Any

from absl import flags

from launch import entry

CONFIG, WORKDIR = entry.define("configs/paraphrases.py", "workdir")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print how many requests are pending and finished; generate nothing.")


def main() -> None:
    """From flags to a plan to generated items."""
    from launch import datasets

    config = CONFIG.value.to_dict()
    dataset = datasets.read(config)
    make = {"paraphrases": _paraphrases, "synthetic_images": _synthetic_images}[config["kind"]]
    make(dataset, config, str(entry.directory(WORKDIR.value) / config["kind"]))


def _paraphrases(dataset: Any, config: dict[str, Any], folder: str) -> None:
    from vla.stimuli import generators
    from vla.stimuli.generators.client import BackOff

    kind = config["client"].pop("kind")
    clients = {"gemini": generators.Gemini, "local": generators.LocalModel, "openai": generators.OpenAIServer}
    plan = generators.plan_paraphrases(dataset, clients[kind](**config["client"]), folder, **config["plan"])
    print(f"{len(plan.pending)} requests to make, {len(plan.finished)} finished: {plan.folder}", flush=True)
    if not DRY_RUN.value:
        back_off = BackOff(**config["back_off"])
        print(generators.generate_paraphrases(plan, back_off=back_off, show_progress=True, **config["run"]))


def _synthetic_images(dataset: Any, config: dict[str, Any], folder: str) -> None:
    from vla.stimuli import generators

    model = generators.StableDiffusion(**config["painter"])
    plan = generators.plan_images(dataset, model, folder, **config["plan"])
    finished = len(plan.images) - plan.n_pending
    print(f"{plan.n_pending} images to generate, {finished} finished: {plan.folder}", flush=True)
    if not DRY_RUN.value:
        print(generators.generate_images(plan, show_progress=True, **config["run"]))


if __name__ == "__main__":
    entry.run(main)
