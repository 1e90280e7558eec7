"""Reading or refusing every field of a config."""

import logging

import pytest

from vla.models.fields import Fields, log_ignored, read_json, without_fields


def test_every_kind_of_field_is_read():
    fields = Fields({"a": 3, "b": 1e-6, "c": False, "d": "x", "e": [14, 14], "f": {"g": 1}, "h": None}, "config.json")
    assert fields.integer("a") == 3
    assert fields.number("b") == 1e-6
    assert fields.flag("c") is False
    assert fields.choice("d", ("x", "y")) == "x"
    assert fields.side("e") == 14
    part = fields.part("f")
    assert part is not None and part.integer("g") == 1
    assert fields.integer("h", None) is None
    assert fields.integer("absent", 7) == 7
    assert fields.part("none") is None
    fields.finish()


def test_lists_are_read():
    fields = Fields({"factors": [1, 2.5], "kinds": ["full", "full"], "edge": [0.0, 1]}, "config.json")
    assert fields.numbers("factors") == (1.0, 2.5)
    assert fields.choices("kinds", ("full", "sliding")) == ("full", "full")
    assert fields.numbers("edge", zero=True) == (0.0, 1.0)
    assert fields.choices("absent", ("full",), None) is None
    fields.finish()


def test_null_may_say_something_else_than_absence():
    fields = Fields({"kv_heads": None}, "config.json")
    assert fields.or_null("kv_heads", 8) is None
    assert fields.or_null("absent", 8) == 8


@pytest.mark.parametrize(
    "method, value, message",
    [
        ("numbers", [1, -1], "expected a list of finite positive numbers"),
        ("numbers", [1, True], "expected a list of finite positive numbers"),
        ("numbers", [0.0], "expected a list of finite positive numbers"),
        ("numbers", 3.0, "expected a list of positive numbers"),
        ("choices", ["full", "local"], "'local' is not known; known are: full, sliding"),
        ("choices", "full", "expected a list of names"),
    ],
)
def test_a_wrong_list_is_refused(method, value, message):
    arguments = (("full", "sliding"),) if method == "choices" else ()
    with pytest.raises(ValueError, match=message):
        getattr(Fields({"x": value}, "config.json"), method)("x", *arguments)


def test_all_unknown_fields_are_named_at_once():
    fields = Fields({"size": 1, "zoom": 2, "alpha": 3, "transformers_version": "4.32.0", "id2label": {}}, "config.json")
    fields.ignore("size")
    with pytest.raises(ValueError, match=r"config\.json has fields .*: alpha, zoom\."):
        fields.finish()


def test_what_hugging_face_does_not_read_is_ignored_and_named_once(caplog):
    caplog.set_level(logging.INFO)
    log_ignored.cache_clear()
    left = {"_model_name_or_path": "x", "unk_token_id": 0, "unsloth_version": "2025.1", "rope_scaling": {"tuned": True}}
    for _ in range(2):
        fields = Fields(left, "DIR/config.json", "llama")
        rope = fields.part("rope_scaling")
        assert rope is not None
        rope.finish()
        fields.finish()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and {record.levelname for record in caplog.records} == {"INFO"}
    assert lines[0].startswith("DIR/config.json, 'rope_scaling': ") and lines[0].endswith(": tuned")
    assert lines[1].endswith(": _model_name_or_path, unk_token_id, unsloth_version")


@pytest.mark.parametrize(
    "name", ["per_layer_config", "is_causal", "head_dim", "my_causal_flag", "use_bidirectional_attention"]
)
def test_what_hugging_face_reads_or_what_names_another_mask_is_refused(name):
    with pytest.raises(ValueError, match=f"has fields .*: {name}. .*--config.ignore_fields={name} "):
        Fields({name: 1, "unsloth_version": "2025.1"}, "config.json", "llama").finish()


def test_of_fields_in_an_object_the_remedy_gives_the_path():
    part = Fields({"text_config": {"per_layer_config": {}}}, "config.json", "gemma3").part("text_config")
    assert part is not None
    with pytest.raises(ValueError, match=r"--config.ignore_fields=text_config\.per_layer_config "):
        part.finish()


def test_fields_are_left_out_by_name_and_by_path():
    values = {"a": 1, "b": {"c": 2, "d": 3}}
    assert without_fields(values, ("a", "b.c"), "config.json") == {"b": {"d": 3}}
    assert values == {"a": 1, "b": {"c": 2, "d": 3}}
    for name in ("e", "b.e", "a.c"):
        with pytest.raises(ValueError, match=f"config.json has no field '{name}' that ignore_fields"):
            without_fields(values, (name,), "config.json")


@pytest.mark.parametrize(
    "method, value, message",
    [
        ("integer", 1.5, "'x' is 1.5; expected a whole number"),
        ("integer", True, "'x' is True; expected a whole number"),
        ("integer", 0, "at least 1"),
        ("integer", None, "'x' is None"),
        ("number", "1e-6", "'x' is '1e-6'; expected a positive number"),
        ("number", -1, "finite positive"),
        ("number", float("inf"), "finite positive"),
        ("number", float("nan"), "finite positive"),
        ("number", True, "expected a positive number"),
        ("flag", 1, "expected true or false"),
        ("side", [14, 16], "only squares"),
        ("side", [1, 2, 3], "two equal ones"),
        ("side", [0, 0], "two equal ones"),
        ("side", "14", "two equal ones"),
        ("part", [1], "expected an object"),
    ],
)
def test_a_wrong_value_is_refused(method, value, message):
    with pytest.raises(ValueError, match=message):
        getattr(Fields({"x": value}, "config.json"), method)("x")


def test_an_unknown_choice_lists_the_sorted_known_ones():
    with pytest.raises(ValueError, match="hidden_act 'mish' is not known; known are: gelu, relu, silu"):
        Fields({"hidden_act": "mish"}, "config.json").choice("hidden_act", ("silu", "gelu", "relu"))


def test_a_required_field_is_missed():
    with pytest.raises(ValueError, match="config.json has no field 'factor'"):
        Fields({}, "config.json").number("factor")


def test_a_value_other_than_the_supported_one_is_refused_with_the_reason():
    Fields({}, "config.json").only("rope_interleaved", False, "why")
    with pytest.raises(ValueError, match=r"'rope_interleaved' is True, but only False is supported \(why\)"):
        Fields({"rope_interleaved": True}, "config.json").only("rope_interleaved", False, "why")


@pytest.mark.parametrize(
    "field, harmless, harmful",
    [
        ("pruned_heads", {}, {"1": [0]}),
        ("is_encoder_decoder", False, True),
        ("add_cross_attention", False, True),
        ("quantization_config", None, {"bits": 4}),
    ],
)
def test_bookkeeping_that_changes_the_model_is_refused(field, harmless, harmful):
    Fields({field: harmless}, "config.json").finish()
    with pytest.raises(ValueError, match=f"{field}.*not supported"):
        Fields({field: harmful}, "config.json").finish()


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "holds list"),
        (b"\xff\xfe", "is not JSON"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*run `git lfs install"),
    ],
)
def test_a_file_that_holds_no_object_is_refused(text, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_json(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="no config.json in .*expected a checkpoint directory"):
        read_json(tmp_path / "config.json")
