"""Gemini's and OpenAI's own client libraries against a server on this machine."""

import json
import re
import sys
import time
import traceback

import pytest

from tests.stimuli.generators.server import TEN, gemini_error, openai_error, serving
from vla.stimuli.generators import Gemini, OpenAIServer
from vla.stimuli.generators.client import Transient, check_url, redact

SECRET = "sk-very+secret/0123456789"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for variable in ("GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(variable, SECRET)
    # What would lead the libraries elsewhere.
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")


def make(kind, url, **settings):
    client = (
        Gemini(base_url=url, **settings) if kind == "gemini" else OpenAIServer("m", base_url=f"{url}/v1", **settings)
    )
    client.open()
    return client


def test_gemini_is_asked_as_its_interface_wants():
    with serving(lambda number, asked: TEN) as server:
        client = make("gemini", server.url, temperature=0.5, thinking_budget=0, max_output_tokens=99)
        assert client.complete("the request", 7) == TEN
        ((path, headers, asked),) = server.requests
    assert re.fullmatch(r"/v1(beta)?/models/gemini-2.5-flash:generateContent", path)
    assert headers["x-goog-api-key"] == SECRET
    assert asked["contents"][0]["parts"] == [{"text": "the request"}]
    config = asked["generationConfig"]
    assert (config["seed"], config["temperature"], config["maxOutputTokens"]) == (7, 0.5, 99)
    assert config["thinkingConfig"] == {"thinkingBudget": 0} or config["thinkingConfig"] == {"thinking_budget": 0}
    assert "topP" not in config


def test_an_openai_server_is_asked_as_its_interface_wants():
    with serving(lambda number, asked: TEN) as server:
        client = make("openai", server.url, top_p=0.5)
        assert client.complete("the request", 7) == TEN
        ((path, headers, asked),) = server.requests
    assert path == "/v1/chat/completions" and headers["authorization"] == f"Bearer {SECRET}"
    assert asked == {
        "model": "m",
        "messages": [{"role": "user", "content": "the request"}],
        "temperature": 1.0,
        "top_p": 0.5,
        "seed": 7,
    }


def test_what_is_none_is_left_to_the_server():
    with serving(lambda number, asked: TEN) as server:
        make("openai", server.url, temperature=None, send_seed=False).complete("r", 7)
        assert sorted(server.requests[0][2]) == ["messages", "model"]


RETRY = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}]


@pytest.mark.parametrize(
    ("kind", "answer", "words", "wait"),
    [
        ("gemini", gemini_error(429, "RESOURCE_EXHAUSTED", "slow down", RETRY), "429: slow down", 17.5),
        ("gemini", gemini_error(500, "INTERNAL", "oops"), "500: oops", None),
        ("gemini", gemini_error(503, "UNAVAILABLE", "overloaded"), "503: overloaded", None),
        ("gemini", (502, {}, "<html>bad gateway</html>"), "502: <html>", None),
        ("gemini", (200, {}, "{'no json'"), "cannot be read", None),
        ("openai", openai_error(429, "slow down", **{"Retry-After": "12"}), "slow down", 12.0),
        ("openai", openai_error(500, "oops"), "500", None),
        ("openai", (502, {}, "<html>bad gateway</html>"), "502", None),
        ("openai", (200, {}, "no json"), "cannot be read", None),
        ("openai", (200, {}, '{"choices": []}'), "cannot be read", None),
        ("openai", (200, {}, "{}"), "cannot be read", None),
    ],
)
def test_what_may_pass_is_worth_another_try(kind, answer, words, wait):
    with serving(lambda number, asked: answer) as server:
        client = make(kind, server.url)
        with pytest.raises(Transient) as failed:
            client.complete("r", 0)
        assert len(server.requests) == 1, "the library must not try again on its own"
    assert words in str(failed.value) and failed.value.wait == wait


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        (
            "gemini",
            gemini_error(400, "INVALID_ARGUMENT", f"API key not valid: {SECRET}"),
            "not valid: ***",
        ),
        ("gemini", gemini_error(403, "PERMISSION_DENIED", "no"), "Check the key"),
        ("gemini", gemini_error(404, "NOT_FOUND", "no such model"), "Check the model's name"),
        ("openai", openai_error(401, f"Incorrect API key provided: {SECRET}"), "provided: ***"),
        ("openai", openai_error(404, "no such model"), "Check the model's name"),
        ("openai", openai_error(429, "pay", "insufficient_quota"), "The quota is used up"),
    ],
)
def test_what_will_not_pass_is_an_error_without_the_key(kind, answer, words):
    with serving(lambda number, asked: answer) as server:
        client = make(kind, server.url)
        with pytest.raises(ValueError) as failed:
            client.complete("r", 0)
    assert words in str(failed.value)
    assert SECRET not in "".join(traceback.format_exception(failed.value))


@pytest.mark.parametrize("kind", ["gemini", "openai"])
def test_a_server_that_is_gone_or_slow_may_come_back(kind):
    with pytest.raises(Transient, match="cannot be reached"):
        make(kind, "http://127.0.0.1:9").complete("r", 0)

    def sleep(number, asked):
        time.sleep(0.5)
        return TEN

    with serving(sleep) as server, pytest.raises(Transient, match="cannot be reached"):
        make(kind, server.url, timeout=0.1).complete("r", 0)


def test_an_answer_withheld_is_empty():
    blocked = json.dumps({"promptFeedback": {"blockReason": "SAFETY"}})
    with serving(lambda number, asked: (200, {}, blocked)) as server:
        assert make("gemini", server.url).complete("r", 0) == ""
    silent = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]})
    with serving(lambda number, asked: (200, {}, silent)) as server:
        assert make("openai", server.url).complete("r", 0) == ""


def test_keys_come_from_the_environment_only(monkeypatch):
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ValueError, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        Gemini().open()
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        OpenAIServer("m").open()
    with serving(lambda number, asked: TEN) as server:
        make("openai", server.url).complete("r", 0)  # a server of one's own needs none
    monkeypatch.setenv("GEMINI_API_KEY", f" {SECRET}\n")
    with serving(lambda number, asked: TEN) as server:
        make("gemini", server.url).complete("r", 0)
        assert server.requests[0][1]["x-goog-api-key"] == SECRET


def test_no_key_shows_in_settings_or_in_print():
    with serving(lambda number, asked: TEN) as server:
        for kind in ("gemini", "openai"):
            client = make(kind, server.url)
            assert SECRET not in repr(client) + json.dumps(client.settings)


def test_settings_tell_what_determines_an_answer():
    assert Gemini().settings == {"client": "gemini", "model": "gemini-2.5-flash", "temperature": 1.0}
    assert OpenAIServer("m", "http://a/v1").settings != OpenAIServer("m", "http://b/v1").settings


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a/b", "http://user:pass@host/v1", "http://host/v1?key=1"])
def test_addresses_that_cannot_be_used_or_hold_secrets_are_refused(url):
    with pytest.raises(ValueError) as refused:
        check_url(url)
    assert "pass@" not in str(refused.value) and "key=1" not in str(refused.value)


def test_keys_are_scrubbed_however_they_are_written():
    words = f"GET https://h/v1?key=AIza123&x=1 Authorization: Bearer tok-en {SECRET} sk-very%2Bsecret%2F0123456789"
    assert redact(words, SECRET) == "GET https://h/v1?key=***&x=1 Authorization: Bearer *** *** ***"


def test_an_absent_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ValueError, match="pip install openai"):
        OpenAIServer("m", "http://a/v1").open()
