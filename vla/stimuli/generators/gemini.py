"""Asks Google's Gemini, by its own client library."""

import dataclasses
import re
from typing import Any

from vla.stimuli.generators.client import (
    check_url,
    failure,
    given,
    key_from_environment,
    needing,
    scrub,
    transport_errors,
    unreadable,
)

# In the order of the library, which says in a warning which of two it prefers.
KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")


@dataclasses.dataclass
class Gemini:
    """A Gemini model behind the Gemini API; the key comes from GOOGLE_API_KEY or GEMINI_API_KEY.

    Attributes:
      model: The model's name.
      temperature: Of the sampling, 0 to 2; None leaves it to the provider.
      top_p: Of the sampling; None leaves it to the provider.
      max_output_tokens: Longest answer, thoughts included; None leaves it to the provider.
      thinking_budget: Tokens of thought, 0 for none; None leaves it to the provider.
      base_url: Another address than Google's.
      timeout: Seconds until a request is given up and tried again.
    """

    model: str = "gemini-2.5-flash"
    temperature: float | None = 1.0
    top_p: float | None = None
    max_output_tokens: int | None = None
    thinking_budget: int | None = None
    base_url: str = "https://generativelanguage.googleapis.com"
    timeout: float = 120.0
    most_at_once: int | None = dataclasses.field(default=None, init=False)
    _client: Any = dataclasses.field(default=None, init=False, repr=False)
    _key: str | None = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the address."""
        self.base_url = check_url(self.base_url)

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.model

    @property
    def settings(self) -> dict[str, Any]:
        """What determines an answer beside request and seed."""
        sampling = {"temperature": self.temperature, "top_p": self.top_p}
        limits = {"max_output_tokens": self.max_output_tokens, "thinking_budget": self.thinking_budget}
        return {"client": "gemini", "model": self.model, **given(sampling), **given(limits)}

    def open(self) -> None:
        """Make the client.

        Raises:
          ValueError: google-genai is not installed, or no key is in the environment.
        """
        with needing("google-genai"):
            from google import genai
        self._key = key_from_environment(*KEYS)
        if self._key is None:
            raise ValueError(f"no key for Gemini: set the environment variable {' or '.join(KEYS)}")
        options = genai.types.HttpOptions(base_url=self.base_url, timeout=int(self.timeout * 1000))
        # Said outright, because the library would take another service from the environment.
        self._client = genai.Client(api_key=self._key, vertexai=False, http_options=options)

    def complete(self, request: str, seed: int) -> str:
        """The model's answer; "" where it gave none.

        Raises:
          Transient: it may work later.
          ValueError: it will not.
        """
        assert self._client is not None, "open() comes first"
        from google import genai

        sampling: dict[str, Any] = given(
            {"temperature": self.temperature, "top_p": self.top_p, "max_output_tokens": self.max_output_tokens}
        )
        if self.thinking_budget is not None:
            sampling["thinking_config"] = genai.types.ThinkingConfig(thinking_budget=self.thinking_budget)
        config = genai.types.GenerateContentConfig(seed=seed, **sampling)
        who = f"Gemini ({self.model})"
        # `from None`: the errors of the libraries hold the request, and with it the key.
        try:
            response = self._client.models.generate_content(model=self.model, contents=request, config=config)
            return response.text or ""
        except genai.errors.APIError as error:
            words = scrub(error.message or error, self._key)
            raise failure(who, words, error.code, wait=_delay(error.details)) from None
        except transport_errors() as error:
            raise failure(who, scrub(f"{type(error).__name__}: {error}", self._key), None) from None
        except ValueError as error:
            raise unreadable(who, scrub(error, self._key)) from None


def _delay(details: Any) -> float | None:
    """Seconds that the API asks to wait (`RetryInfo` of its error model)."""
    found = re.search(r"retryDelay['\"]:\s*['\"](\d+(?:\.\d+)?)s", str(details))
    return float(found[1]) if found else None
