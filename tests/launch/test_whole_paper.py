"""The paper's own config, E1 to E13, by checkpoints of its architectures at reduced width on data in its layouts."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.checkpoints import write_vision
from tests.children import Child
from tests.config_values import config_values
from tests.language_checkpoints import write_family
from tests.vision_checkpoints import write_vision_family
from vla import paper
from vla.experiments import engine
from vla.microworld.shipped import shipped
from vla.microworld.world_folder import write_world
from vla.report.claims import outcomes
from vla.report.run_folder import read

ROOT = Path(__file__).parents[2]
ITEMS = 24
TIMM = """
import sys
from pathlib import Path
from tests.models.timm_oracle import import_timm, write_case
write_case(import_timm(), Path(sys.argv[1]), "augreg")
"""
# Models of the paper, and the family that each is of; by groups of the config.
VISION = {
    "core": {"dinov2-base": "dinov2", "dinov2-large": "dinov2"},
    "backbones": {
        "dino-vitb16": "vit",
        "vit_base_patch16_224.augreg_in1k": "timm",
        "vit_base_patch16_224.augreg_in21k": "timm",
        "vit_large_patch16_224.augreg_in21k": "timm",
        "deit-base-distilled-patch16-224": "deit_teacher",
    },
}
LANGUAGE = {
    "core": {"bloomz-1b1": "bloom", "open_llama_3b": "llama"},
    "extra": {"Qwen2.5-3B": "qwen2", "Phi-3-mini-128k-instruct": "phi3", "SmolLM2-1.7B": "llama"},
}


def _vision(folder, kind, seed):
    if kind == "timm":
        # One of them stands for all, as the process that writes it takes long to start.
        first = next((path.parent for path in folder.parent.glob("*augreg*/config.json")), None)
        if first is not None:
            shutil.copytree(first, folder)
            return
        with Child(TIMM, folder) as child:
            child.said()
    elif kind == "deit_teacher":
        write_vision_family(folder, kind, seed=seed)
    else:
        write_vision(folder, kind, seed=seed)


def _language(folder, name, kind, seed):
    model = write_family(folder, kind, seed=seed, vocab_size=640)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shipped("micro-llama") / file, folder / file)
    if name.startswith("open_llama"):  # published as a pickle
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()


def _groups(where, groups, write):
    found, seed = {}, 0
    for group, models in groups.items():
        found[group] = []
        for name, kind in models.items():
            write(where / name, name, kind, seed := seed + 1)
            found[group].append(f"{name}={where / name}")
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    where = tmp_path_factory.mktemp("paper")
    world = write_world(where / "world", ITEMS, 7, renderings=2, paraphrases=2, judgments=ITEMS, flickr8k=ITEMS)
    vision = _groups(where, VISION, lambda folder, name, kind, seed: _vision(folder, kind, seed))
    language = _groups(where, LANGUAGE, _language)
    vision["backbones"] = vision["core"] + vision["backbones"]
    roles = {"coco": world.coco, "flickr8k": world.flickr8k, "pick_a_pic": world.pick_a_pic}
    words = [f"--config.datasets.{role}.directory={folder}" for role, folder in roles.items()]
    words += [f"--config.datasets.{role}.n_items={ITEMS - 4 * (role == 'coco')}" for role in roles]
    words += [f"--config.datasets.{role}.tagger={world.tagger}" for role in roles]
    words += [f"--config.vision.{group}={tuple(models)!r}" for group, models in vision.items()]
    words += [f"--config.language.{group}={tuple(models)!r}" for group, models in language.items()]
    words += [
        f"--config.datasets.coco.paraphrases={world.paraphrases}",
        f"--config.datasets.coco.synthetic={world.synthetic}",
        *(f"--config.datasets.{role}.clip={shipped('micro-clip')}" for role in ("coco", "flickr8k")),
        "--config.choices.human_captions=2", "--config.captions=3", "--config.images=2", "--config.sweep=()",
        "--config.null=0",
        f"--config.tags={where / 'tags'}",
    ]  # fmt: skip
    study = paper.study(config_values(ROOT / "configs/paper.py", words), {"run": "as in the test"})
    outcome = engine.run(study, where / "run", show_progress=False)
    return where / "run", outcome


def test_every_experiment_is_run_with_the_models_that_it_names(ran):
    folder, outcome = ran
    assert outcome.finished
    table = pd.read_parquet(folder / "scores.parquet")
    assert set(table["experiment"]) == {f"E{i}" for i in range(1, 14)}
    models = {id: (set(rows["vision_model"]), set(rows["language_model"])) for id, rows in table.groupby("experiment")}
    core = set(VISION["core"]), set(LANGUAGE["core"])
    assert models["E1"] == models["E12"] == core
    assert models["E10"] == ({*VISION["core"], *VISION["backbones"]}, set(LANGUAGE["core"]))
    assert models["E13"] == (set(VISION["core"]), set(LANGUAGE["extra"]))
    # A class token before the first block is the same for every image.
    assert table.loc[table["vision_layer"] != "embed", "score"].notna().all()


def test_what_nobody_has_made_of_the_second_dataset_is_all_that_is_not_run(ran):
    _, outcome = ran
    assert [line.partition(",")[0] for line in outcome.absent] == ["E12", "E12"]
    for line, made in zip(outcome.absent, ("paraphrases", "synthetic_images"), strict=True):
        assert f"python -m launch.generate --config=configs/{made}.py --config.dataset=flickr8k" in line


def test_the_papers_claims_about_backbones_find_these_by_name(ran):
    folder, _ = ran
    claims = outcomes(read(folder), "E10", paper.find("seeing_through_words").experiments()["E10"].claims)
    assert len(claims) >= 4 and all("the run lacks one" not in one.result for one in claims)
