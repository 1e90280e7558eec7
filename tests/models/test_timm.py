"""timm's layout against timm itself: its tiny checkpoints, its architectures; and its transform of images."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import flax.nnx as nnx
import jax
import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import edit_config, write_image_processor
from tests.models import timm_oracle
from tests.models.reference import TOLERANCE, network_layers, our_layers, worst
from vla.models import load_model
from vla.models.families.timm import ARCHITECTURES, TIMM, read_timm, timm_fc_norm_table, timm_table
from vla.models.fields import Fields
from vla.models.image_processors import TimmTransform, timm_transform
from vla.models.loading import abstract_network
from vla.models.network_config import VisionConfig
from vla.models.vision_encoder import VisionEncoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("timm")
    command = [sys.executable, "-m", "tests.models.timm_oracle", str(folder), json.dumps(sorted(ARCHITECTURES))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def read_layers(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    with np.load(path) as read:
        return read["pixels"], {name: read[name] for name in read.files if name != "pixels"}


def copied(oracle: Path, case: str, folder: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((oracle / case / name).read_bytes())
    return folder


@pytest.mark.parametrize("case", timm_oracle.CASES)
def test_every_token_of_every_layer_is_timms(case, oracle):
    model = load_model(oracle / case)
    read = sorted((oracle / case).glob("*.npz"))
    assert len(read) == 1 + len(timm_oracle.CASES[case][2])
    for path in read:
        pixels, theirs = read_layers(path)
        assert set(theirs) == set(model.layer_names)
        assert worst(our_layers(model, pixels), theirs) < TOLERANCE


WRONG: dict[str, tuple[str, str, dict[str, Any]]] = {
    "tanh gelu": ("augreg", "28x28", {"nonlinearity": "gelu_new"}),
    "no antialias": ("dinov2", "28x28", {"antialias": False}),
    "no antialias beside registers": ("dinov2 with registers", "28x35", {"antialias": False}),
    "gelu for silu": ("dinov2 giant", "28x28", {"nonlinearity": "gelu"}),
    "heads": ("distilled", "28x28", {"heads": 4}),
    "exact gelu": ("siglip without head", "28x28", {"nonlinearity": "gelu"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_config_is_seen(case, oracle):
    name, size, wrong = WRONG[case]
    model = load_model(oracle / name)
    config = dataclasses.replace(model.network.config, **wrong)
    graph, _ = nnx.split(jax.eval_shape(lambda: VisionEncoder(config, rngs=nnx.Rngs(0))))
    network = nnx.merge(graph, nnx.split(model.network)[1])
    pixels, theirs = read_layers(oracle / name / f"{size}.npz")
    assert worst(network_layers(network, model.layer_names, pixels), theirs) > 10 * TOLERANCE


def test_a_wrong_architecture_of_the_same_shapes_is_seen(oracle, tmp_path):
    edit_config(copied(oracle, "clip quick gelu", tmp_path), architecture="vit_base_patch16_clip_224")
    pixels, theirs = read_layers(oracle / "clip quick gelu" / "28x28.npz")
    assert worst(our_layers(load_model(tmp_path), pixels), theirs) > 10 * TOLERANCE


@functools.cache
def shapes_of(config: VisionConfig) -> dict[str, tuple[int, ...]]:
    state = nnx.to_flat_state(nnx.split(abstract_network(config))[1])
    return {".".join(map(str, path)): variable.get_value().shape for path, variable in state}


def test_every_architecture_is_built_as_timm_builds_it(oracle):
    nonlinearities = {"gelu": "GELU", "gelu_pytorch_tanh": "GELUTanh", "quick_gelu": "QuickGELU", "silu": "SiLU"}
    facts = json.loads((oracle / "facts.json").read_text())
    assert set(facts) == set(ARCHITECTURES)
    unused = tuple(pattern.split("(")[0].split("\\")[0] for pattern in TIMM.unused)
    for name, fact in facts.items():
        given = {key: fact[key] for key in ("input_size", "fixed_input_size")}
        config = read_timm(Fields({"architecture": name, "pretrained_cfg": given}, name))
        said = {key: fact[key] for key in ("depth", "heads", "epsilon", "nonlinearity", "prefix")}
        assert said == {
            "depth": config.depth,
            "heads": config.heads,
            "epsilon": config.norm_epsilon,
            "nonlinearity": nonlinearities[config.nonlinearity],
            "prefix": config.prefix,
        }, name
        config = dataclasses.replace(config, depth=1)
        table = (timm_fc_norm_table if "fc_norm.weight" in fact["shapes"] else timm_table)(config)
        shapes = dict(shapes_of(config))
        ours = {}
        for row in table:
            shape = shapes.pop(row.path)
            ours[row.name.format(0)] = list(row.shape_in_file(shape[row.path.startswith("blocks.") :]))
        theirs = {key: shape for key, shape in fact["shapes"].items() if not key.startswith(unused)}
        assert not shapes and ours == theirs, name


def test_older_configs_without_sections_are_read(oracle, tmp_path):
    copied(oracle, "augreg", tmp_path)
    config = load_model(tmp_path, weights=False).network.config
    fields = json.loads((tmp_path / "config.json").read_text())
    older = {**fields.pop("pretrained_cfg"), **fields}
    (tmp_path / "config.json").write_text(json.dumps(older))
    assert load_model(tmp_path, weights=False).network.config == config


def test_a_field_at_the_top_that_timm_does_not_read_is_ignored_and_named(oracle, tmp_path, caplog):
    caplog.set_level("INFO")
    copied(oracle, "augreg", tmp_path)
    config = load_model(tmp_path, weights=False).network.config
    edit_config(tmp_path, training_run="a", model_args_note={"lr": 1})
    assert load_model(tmp_path, weights=False).network.config == config
    (line,) = [record.getMessage() for record in caplog.records if record.name == "vla.models.fields"]
    assert line == f"{tmp_path / 'config.json'}: ignored fields that timm does not read: model_args_note, training_run"
    edit_config(tmp_path, is_causal=True)
    with pytest.raises(ValueError, match="ignore_fields=is_causal "):
        load_model(tmp_path)
    # timm refuses these itself
    older = json.loads((tmp_path / "config.json").read_text())
    del older["is_causal"]
    (tmp_path / "config.json").write_text(json.dumps({**older.pop("pretrained_cfg"), **older}))
    with pytest.raises(ValueError, match="not known to matter .*: model_args_note, training_run"):
        load_model(tmp_path)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an unknown architecture": ({"architecture": "resnet50"}, {}, "architecture 'resnet50' is not known; .*deit3_base"),
    "an unknown argument": ({}, {"wobble": 1}, "'model_args' has fields that are not known .*: wobble"),
    "another kind of block": ({}, {"qk_norm": True}, "'qk_norm' is True, but only False is supported"),
    "no final norm": ({}, {"final_norm": False}, "'final_norm' is False, but only True is supported"),
    "another pooling": ({}, {"global_pool": "prr"}, "global_pool 'prr' is not known"),
    "an image that is no square": ({}, {"img_size": [28, 21]}, "'img_size' is .*; only squares"),
    "other weights": ({}, {"reg_tokens": 2}, "missing: reg_token \\[1, 2, 24\\](.|\n)*mis-shaped: pos_embed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_name(case, oracle, tmp_path):
    top, arguments, message = REFUSED[case]
    copied(oracle, "augreg", tmp_path)
    given = json.loads((tmp_path / "config.json").read_text())["model_args"]
    edit_config(tmp_path, **top, model_args={**given, **arguments})
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


def photograph(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels, "RGB")


# Size of the image, side, crop_pct and mode; then to what it is resized and where it is cut, worked out by hand.
TRANSFORMS = {
    "shorter edge down": ((500, 375), 224, 0.9, "center", (330, 248), (53, 12)),
    "tall": ((333, 500), 224, 0.875, "center", (256, 384), (16, 80)),
    "longer edge cut down to a whole number": ((101, 67), 40, 1.0, "center", (60, 40), (10, 0)),
    "half pixels to the even side": ((67, 40), 30, 1.0, "center", (50, 30), (10, 0)),
    "odd margins": ((49, 43), 40, 40 / 43, "center", (49, 43), (4, 2)),
    "larger": ((100, 80), 112, 0.95, "center", (146, 117), (17, 2)),
    "squashed": ((120, 60), 48, 0.9, "squash", (53, 53), (2, 2)),
}


@pytest.mark.parametrize("case", TRANSFORMS)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_the_transform_is_timms(case, interpolation, tmp_path):
    size, side, share, mode, resized, corner = TRANSFORMS[case]
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    pretrained = {"input_size": [3, side, side], "crop_pct": share, "crop_mode": mode, "mean": mean, "std": std}
    fields = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {**pretrained, "interpolation": interpolation}}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    transform = timm_transform(tmp_path)
    assert transform is not None
    image = photograph(*size)
    cut = image.resize(resized, Image.Resampling[interpolation.upper()])
    cut = cut.crop((*corner, corner[0] + side, corner[1] + side))
    expected = (np.asarray(cut, np.float64) / 255 - mean) / std
    ours = transform(image)
    assert ours.dtype == np.float32 and ours.shape == (3, side, side)
    assert np.abs(ours.transpose(1, 2, 0) - expected).max() < 2e-6


def test_a_model_prepares_its_own_images(oracle, tmp_path):
    model = load_model(copied(oracle, "clip", tmp_path))
    image = photograph(90, 60)
    pixels = model.preprocess([image])[0]
    transform = timm_transform(tmp_path)
    assert transform == TimmTransform(28, 29, False, Image.Resampling.BICUBIC, *_clip_statistics())
    assert np.array_equal(pixels, transform(image))
    # an image processor of Hugging Face's, when one is named, takes its place
    write_image_processor(tmp_path / "other", 21)
    other = load_model(tmp_path, processor=tmp_path / "other")
    assert other.preprocess([image])[0].shape == (3, 21, 21)
    assert other.fingerprint != model.fingerprint


def _clip_statistics() -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


BAD_TRANSFORMS: dict[str, tuple[dict[str, Any], str]] = {
    "borders": ({"crop_mode": "border"}, "crop_mode 'border' is not known; known are: center, squash"),
    "an unknown filter": ({"interpolation": "sinc"}, "interpolation 'sinc' is not known; .*bicubic"),
    "beyond the image": ({"crop_pct": 1.2}, "crop_pct 1.2.*processor="),
    "one mean": ({"mean": [0.5]}, r"mean \[0.5\].*three numbers"),
}


@pytest.mark.parametrize("case", BAD_TRANSFORMS)
def test_a_transform_that_is_not_supported_is_refused(case, oracle, tmp_path):
    changes, message = BAD_TRANSFORMS[case]
    copied(oracle, "augreg", tmp_path)
    pretrained = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    edit_config(tmp_path, pretrained_cfg={**pretrained, **changes})
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


def test_an_image_may_be_left_uncentred(tmp_path):
    fields = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {"mean": [0, 0.0, 0.0], "std": [1, 1.0, 1.0]}}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    transform = timm_transform(tmp_path)
    assert transform is not None
    # 224 / 0.875, timm's own where nothing is said
    assert (transform.side, transform.resized, transform.mean) == (224, 256, (0.0, 0.0, 0.0))
