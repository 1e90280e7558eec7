"""What Hugging Face's code reads, and code of a publisher that is refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import transformers

import vla
from tests.checkpoints import edit_config
from tests.language_checkpoints import LANGUAGE, write_family
from vla.models import load_model
from vla.models.families import FAMILIES
from vla.models.fields import may_read, refuse_publishers_code

CAPTIONS = ["a dog runs in the grass", "two cats", "the old red boat sails"]


@pytest.mark.parametrize("kind", [*LANGUAGE, "clip", "vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "siglip"])
def test_all_that_a_config_class_declares_may_be_read(kind):
    declared = [field.name for field in dataclasses.fields(transformers.CONFIG_MAPPING[kind])]
    assert len(declared) >= 10
    assert [name for name in declared if not may_read(kind, name)] == []


def test_what_the_shared_code_reads_may_be_read():
    for name in ("is_causal", "per_layer_config", "sliding_window", "rope_theta", "head_dim"):
        assert may_read("llama", name)


@pytest.mark.parametrize("name", ["_model_name_or_path", "unk_token_id", "unsloth_version", "unsloth_fixed"])
def test_what_converters_and_trainers_leave_behind_is_read_by_nobody(name):
    assert not may_read("llama", name) and not may_read("qwen2", name)


def test_of_an_unknown_architecture_everything_may_be_read():
    assert may_read("none_such", "unsloth_version")


@pytest.mark.parametrize(
    "model_type, auto_map",
    [
        ("qwen2", {"AutoModel": "modeling_qwen.Qwen2Model"}),  # gte-Qwen2, stella
        ("mistral", {"AutoModelForCausalLM": "modeling_gritlm7b.MistralForCausalLM"}),
        ("llama", {"AutoModel": "owner/name--modeling_llama_encoder.LlamaEncoderModel"}),  # LLM2Vec
        ("llama", {"AutoConfig": "configuration_llama.LlamaConfig"}),
        ("clip", {"AutoModel": "modeling_evaclip.EvaCLIPModel"}),
        ("gpt2", {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]}),
        ("llama", {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}),
    ],
)
def test_code_of_the_publisher_is_refused_by_name(model_type, auto_map):
    name = next(iter(auto_map.values()))
    with pytest.raises(ValueError, match="'auto_map' names the publisher's own code") as error:
        refuse_publishers_code({"auto_map": auto_map}, model_type, "config.json")
    assert (name if isinstance(name, str) else name[1]) in str(error.value)
    assert "--config.ignore_fields=auto_map" in str(error.value)


@pytest.mark.parametrize("repository", ["", "microsoft/Phi-3-mini-4k-instruct--"])
def test_the_code_that_phi_3_was_published_with_is_known(repository):
    values = {
        "auto_map": {
            "AutoConfig": f"{repository}configuration_phi3.Phi3Config",
            "AutoModelForCausalLM": f"{repository}modeling_phi3.Phi3ForCausalLM",
            "AutoTokenizer": "Xenova/gpt-4o",
        },
        "architectures": ["Phi3ForCausalLM"],
    }
    refuse_publishers_code(values, "phi3", "config.json")


@pytest.mark.parametrize(
    "model_type, name",
    [
        ("llama", "LlamaBiModel"),
        ("mistral", "MistralBiForMNTP"),
        ("qwen2", "Qwen2ForRewardModel"),
        ("llama", "LlavaLlamaForCausalLM"),
        ("mistral", "LlamaForCausalLM"),
        ("vit", "Dinov2Model"),
    ],
)
def test_a_class_that_transformers_does_not_have_is_refused_by_name(model_type, name):
    with pytest.raises(ValueError, match=f"'architectures' names {name}, which Hugging Face's {model_type} does not"):
        refuse_publishers_code({"architectures": [name]}, model_type, "config.json")


@pytest.mark.parametrize(
    "model_type, names",
    [
        ("llama", ["LlamaForCausalLM", "LlamaModel", "LlamaForSequenceClassification", "LLaMAForCausalLM"]),
        ("llama", ["FSDPLlamaForCausalLM", "FlaxLlamaForCausalLM"]),
        ("bloom", ["BloomModel", "BloomForCausalLM"]),
        ("gpt2", ["GPT2LMHeadModel"]),
        ("gemma3_text", ["Gemma3TextModel", "Gemma3ForCausalLM"]),
        ("gemma3", ["Gemma3ForConditionalGeneration"]),
        ("vit", ["ViTModel", "ViTForImageClassification", "TFViTModel"]),
        ("deit", ["DeiTForImageClassificationWithTeacher"]),
        ("vit_mae", ["ViTMAEForPreTraining"]),
        ("clip_vision_model", ["CLIPVisionModelWithProjection"]),
        ("clip_text_model", ["CLIPTextModel"]),
        ("siglip_vision_model", ["SiglipVisionModel"]),
        ("dinov2_with_registers", ["Dinov2WithRegistersModel"]),
        ("dinov3_vit", ["DINOv3ViTModel"]),
    ],
)
def test_classes_of_transformers_are_fine(model_type, names):
    refuse_publishers_code({"architectures": names}, model_type, "config.json")


@pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - {"timm"}))
def test_every_family_has_its_code_in_transformers(model_type):
    assert not may_read(model_type, "unsloth_version")
    with pytest.raises(ValueError, match="'architectures' names None1"):
        refuse_publishers_code({"architectures": ["None1"]}, model_type, "config.json")


def test_an_embedding_model_without_a_causal_mask_is_refused_and_read_as_it_was_meant(tmp_path):
    """gte-Qwen2's form: code of the publisher under `model_type` qwen2, whose only difference is the mask."""
    reference = write_family(tmp_path, "qwen2", base=True).eval()
    edit_config(tmp_path, auto_map={"AutoModel": "modeling_qwen.Qwen2Model"})
    with pytest.raises(ValueError, match="modeling_qwen.Qwen2Model"):
        load_model(tmp_path)
    causal = load_model(tmp_path, ignore_fields=("auto_map",))
    edit_config(tmp_path, is_causal=False)
    model = load_model(tmp_path, ignore_fields=("auto_map",))
    got = vla.extract(model, CAPTIONS, layers="final_norm").values[0]
    wrong = vla.extract(causal, CAPTIONS, layers="final_norm").values[0]
    for row, caption in enumerate(CAPTIONS):
        ids = torch.tensor(model.preprocess([caption])[0]).long()[None]
        # an additive mask of zeros: every token sees every token
        zeros = torch.zeros(1, 1, ids.shape[1], ids.shape[1])
        with torch.no_grad():
            meant = reference(input_ids=ids, attention_mask=zeros).last_hidden_state.mean(1).numpy()[0]
        assert np.abs(got[row] - meant).max() < 1e-5 * np.abs(meant).max()
        assert np.abs(wrong[row] - meant).max() > 1e-2 * np.abs(meant).max()


def test_ignored_fields_are_part_of_the_fingerprint(tmp_path):
    write_family(tmp_path, "llama")
    plain = load_model(tmp_path, weights=False).fingerprint
    asked = load_model(tmp_path, weights=False, ignore_fields=("rms_norm_eps", "use_cache"))
    assert asked.ignored_fields == ("rms_norm_eps", "use_cache") and asked.fingerprint != plain
    same = load_model(tmp_path, weights=False, ignore_fields=("use_cache", "rms_norm_eps"))
    assert same.fingerprint == asked.fingerprint
    assert json.loads((tmp_path / "config.json").read_text())["rms_norm_eps"] is not None
