"""Waits ever longer between tries of a request that may succeed later."""

import dataclasses
import random
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Transient(Exception):
    """A request failed in a way that may pass: too many requests, a server's fault, a lost connection."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        """Say why, and how many seconds the server asks to wait, if it does."""
        super().__init__(why)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class BackOff:
    """How patiently a request is repeated.

    Attributes:
      tries: At most so many requests.
      first: Seconds to wait after the first failure; doubled after each further one.
      longest: Seconds of the longest wait; a server that asks for more is not waited for.
    """

    tries: int = 8
    first: float = 1.0
    longest: float = 120.0

    def __post_init__(self) -> None:
        """Refuse what is no policy."""
        if self.tries < 1 or self.first < 0 or self.longest < self.first:
            raise ValueError(f"{self}: expected tries of at least 1, and 0 <= first <= longest in seconds")

    def seconds(self, failures: int, asked: float | None = None) -> float:
        """Wait after that many failures: between half and all of the doubled time, never less than the server asks.

        Chance keeps requests that failed together from coming back together.
        """
        doubled = min(self.longest, self.first * 2.0 ** (failures - 1))
        return max(asked or 0.0, doubled * random.uniform(0.5, 1.0))

    def call(self, request: Callable[[], Result], wait: Callable[[float], object] = time.sleep) -> Result:
        """The result of the first try that succeeds.

        Args:
          request: Raises Transient if it is worth another try.
          wait: Waits for a number of seconds.

        Raises:
          Transient: the last try failed, or the server asks for a longer wait than `longest`.
        """
        failures = 0
        while True:
            try:
                return request()
            except Transient as error:
                failures += 1
                if error.wait is not None and error.wait > self.longest:
                    raise Transient(f"{error}; the server asks to wait {error.wait:.0f} s") from None
                if failures >= self.tries:
                    raise Transient(f"{error} (tried {failures} times)") from None
                wait(self.seconds(failures, error.wait))
