"""Language models behind a server: Google's Gemini, and any server with OpenAI's chat completions interface."""

import dataclasses
import re
from typing import Any

from vla.stimuli.generators.client import (
    Transient,
    check_url,
    failure,
    key_from_environment,
    redact,
    require_packages,
    transport_errors,
    without_none,
)

# In the order of google-genai, which prefers the first and warns if both are set.
GEMINI_KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
OPENAI_KEY = "OPENAI_API_KEY"
OPENAI_URL = "https://api.openai.com/v1"


@dataclasses.dataclass
class Server:
    """A language model behind a server; in all settings None stands for the provider's default.

    Attributes:
      model: Name of the model on that server.
      base_url: Address of the server; OpenAI's ends in `/v1`.
      temperature: Sampling temperature, 0 to 2; some reasoning models require None.
      top_p: Nucleus sampling.
      max_output_tokens: Longest answer in tokens, including thoughts.
      timeout: Seconds until a request is cancelled and repeated.
    """

    model: str
    base_url: str
    temperature: float | None = 1.0
    top_p: float | None = None
    max_output_tokens: int | None = None
    timeout: float = 120.0
    most_at_once: int | None = dataclasses.field(default=None, init=False)
    _client: Any = dataclasses.field(default=None, init=False, repr=False)
    _key: str | None = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the address, and that the model has a name."""
        self.base_url = check_url(self.base_url)
        if not self.model:
            raise ValueError("model='': name the model of the server")

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model

    def _sampling(self, limit: str) -> dict[str, Any]:
        """The settings that are not None; `limit` is the server's name of `max_output_tokens`."""
        return without_none({"temperature": self.temperature, "top_p": self.top_p, limit: self.max_output_tokens})


@dataclasses.dataclass
class Gemini(Server):
    """A Gemini model behind the Gemini API; the key comes from GOOGLE_API_KEY or GEMINI_API_KEY.

    Attributes:
      thinking_budget: Tokens for thoughts, 0 for none.
    """

    model: str = "gemini-2.5-flash"
    base_url: str = "https://generativelanguage.googleapis.com"
    thinking_budget: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values that, with the request and the seed, determine the answer."""
        thinking = without_none({"thinking_budget": self.thinking_budget})
        return {"client": "gemini", "model": self.model, **self._sampling("max_output_tokens"), **thinking}

    def open(self) -> None:
        """Create the client; a ValueError if google-genai is not installed, or the environment has no key."""
        with require_packages("google-genai"):
            from google import genai
        self._key = key_from_environment(*GEMINI_KEYS)
        if self._key is None:
            raise ValueError(f"no key for Gemini: set the environment variable {' or '.join(GEMINI_KEYS)}")
        options = genai.types.HttpOptions(base_url=self.base_url, timeout=int(self.timeout * 1000))
        # Explicit, because the library would otherwise choose the service from the environment.
        self._client = genai.Client(api_key=self._key, vertexai=False, http_options=options)

    def complete(self, request: str, seed: int) -> str:
        """The answer of the model; see `Client.complete`."""
        assert self._client is not None, "open() comes first"
        from google import genai

        sampling = self._sampling("max_output_tokens")
        if self.thinking_budget is not None:
            sampling["thinking_config"] = genai.types.ThinkingConfig(thinking_budget=self.thinking_budget)
        config = genai.types.GenerateContentConfig(seed=seed, **sampling)
        server = f"Gemini ({self.model})"
        # `from None`: the errors of the libraries contain the request, and with it the key.
        try:
            response = self._client.models.generate_content(model=self.model, contents=request, config=config)
            return response.text or ""
        except genai.errors.APIError as error:
            # Seconds that the API asks to wait: `RetryInfo` of its error model.
            delay = re.search(r"retryDelay['\"]:\s*['\"](\d+(?:\.\d+)?)s", str(error.details))
            wait = float(delay[1]) if delay else None
            raise failure(server, redact(error.message or error, self._key), error.code, wait=wait) from None
        except transport_errors() as error:
            raise failure(server, redact(f"{type(error).__name__}: {error}", self._key), None) from None
        except ValueError as error:
            raise Transient(f"{server} gave an answer that cannot be read: {redact(error, self._key)}") from None


@dataclasses.dataclass
class OpenAIServer(Server):
    """A model behind an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, Ollama, ...).

    The key comes from OPENAI_API_KEY; servers other than OpenAI may need none.

    Attributes:
      send_seed: Whether to send a seed, which a few servers refuse.
    """

    base_url: str = OPENAI_URL
    send_seed: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values that, with the request and the seed, determine the answer; names depend on the server."""
        settings = {"client": "openai", "model": self.model, "base_url": self.base_url, "send_seed": self.send_seed}
        return {**settings, **self._sampling("max_tokens")}

    def open(self) -> None:
        """Create the client; a ValueError if openai is not installed, or there is no key for OpenAI itself."""
        with require_packages("openai"):
            import openai
        self._key = key_from_environment(OPENAI_KEY)
        if self._key is None and self.base_url == OPENAI_URL:
            raise ValueError(f"no key for OpenAI: set the environment variable {OPENAI_KEY}, or name another base_url")
        # No retries by the library: `BackOff` repeats requests. The environment may have another address: pass ours.
        self._client = openai.OpenAI(
            api_key=self._key or "none", base_url=self.base_url, timeout=self.timeout, max_retries=0
        )

    def complete(self, request: str, seed: int) -> str:
        """The answer of the model; see `Client.complete`."""
        assert self._client is not None, "open() comes first"
        import openai

        server = f"{self.base_url} ({self.model})"
        sampling = self._sampling("max_tokens") | ({"seed": seed} if self.send_seed else {})
        # `from None`: the errors of the library contain the request, and with it the key.
        try:
            response = self._client.chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": request}], **sampling
            )
            return response.choices[0].message.content or ""
        except openai.APIStatusError as error:
            retry_after = error.response.headers.get("retry-after", "")
            wait = float(retry_after) if retry_after.replace(".", "", 1).isdigit() else None
            permanent = error.code == "insufficient_quota"
            message = redact(error.message, self._key)
            raise failure(server, message, error.status_code, wait=wait, permanent=permanent) from None
        except openai.APIError as error:
            raise failure(server, redact(f"{type(error).__name__}: {error}", self._key), None) from None
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            message = redact(f"{type(error).__name__}: {error}", self._key)
            raise Transient(f"{server} gave an answer that cannot be read: {message}") from None
