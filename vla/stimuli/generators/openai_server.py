"""Asks any server that speaks OpenAI's chat completions: OpenAI itself, vLLM, llama.cpp, Ollama, ..."""

import dataclasses
from typing import Any

from vla.stimuli.generators.client import check_url, failure, given, key_from_environment, needing, scrub, unreadable

KEY = "OPENAI_API_KEY"
OPENAI = "https://api.openai.com/v1"


@dataclasses.dataclass
class OpenAIServer:
    """A model behind an OpenAI-compatible server; the key comes from OPENAI_API_KEY, other servers may need none.

    Attributes:
      model: The model's name on that server.
      base_url: The server's address, with `/v1` where it has one.
      temperature: Of the sampling; None leaves it to the server, as some reasoning models demand.
      top_p: Of the sampling; None leaves it to the server.
      max_output_tokens: Longest answer; None leaves it to the server.
      send_seed: Whether to send a seed, which a few servers refuse.
      timeout: Seconds until a request is given up and tried again.
    """

    model: str
    base_url: str = OPENAI
    temperature: float | None = 1.0
    top_p: float | None = None
    max_output_tokens: int | None = None
    send_seed: bool = True
    timeout: float = 120.0
    most_at_once: int | None = dataclasses.field(default=None, init=False)
    _client: Any = dataclasses.field(default=None, init=False, repr=False)
    _key: str | None = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the address and that a model is named."""
        self.base_url = check_url(self.base_url)
        if not self.model:
            raise ValueError("model='': name the model of the OpenAI-compatible server")

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.model

    @property
    def settings(self) -> dict[str, Any]:
        """What determines an answer beside request and seed; one name may mean another model on another server."""
        words = {"client": "openai", "model": self.model, "base_url": self.base_url, "send_seed": self.send_seed}
        return {**words, **self._sampling()}

    def open(self) -> None:
        """Make the client.

        Raises:
          ValueError: openai is not installed, or OpenAI is asked without a key.
        """
        with needing("openai"):
            import openai
        self._key = key_from_environment(KEY)
        if self._key is None and self.base_url == OPENAI:
            raise ValueError(f"no key for OpenAI: set the environment variable {KEY}, or name another base_url")
        # One policy of trying again, ours; an address given outright, because the environment may hold another.
        self._client = openai.OpenAI(
            api_key=self._key or "none", base_url=self.base_url, timeout=self.timeout, max_retries=0
        )

    def complete(self, request: str, seed: int) -> str:
        """The model's answer; "" where it gave none.

        Raises:
          Transient: it may work later.
          ValueError: it will not.
        """
        assert self._client is not None, "open() comes first"
        import openai

        who = f"{self.base_url} ({self.model})"
        sampling = self._sampling() | ({"seed": seed} if self.send_seed else {})
        # `from None`: the errors of the library hold the request, and with it the key.
        try:
            response = self._client.chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": request}], **sampling
            )
            return response.choices[0].message.content or ""
        except openai.APIStatusError as error:
            asked = error.response.headers.get("retry-after", "")
            wait = float(asked) if asked.replace(".", "", 1).isdigit() else None
            words = scrub(error.message, self._key)
            hopeless = error.code == "insufficient_quota"
            raise failure(who, words, error.status_code, wait=wait, hopeless=hopeless) from None
        except openai.APIError as error:
            raise failure(who, scrub(f"{type(error).__name__}: {error}", self._key), None) from None
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise unreadable(who, scrub(f"{type(error).__name__}: {error}", self._key)) from None

    def _sampling(self) -> dict[str, Any]:
        sampling = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_output_tokens}
        return given(sampling)
