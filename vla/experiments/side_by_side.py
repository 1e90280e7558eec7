"""Small pieces of scoring beside one another in threads of this process."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import psutil

from vla import devices

# What a part takes at least, of whatever size its layers are.
LEAST_BYTES = 1 << 28


@contextlib.contextmanager
def side_by_side(part_bytes: float = 0.0) -> Iterator[Callable[..., None]]:
    """A function that has a part of a table scored, `singly` by itself or beside as many as cores and memory allow.

    Parts are done when the block ends. An error of any ends it.

    Args:
      part_bytes: Memory that a part takes which is not scored by itself.
    """
    room = int(psutil.virtual_memory().available / max(part_bytes, LEAST_BYTES))
    count, running = max(1, min(devices.workers(), room)), set[Future[None]]()

    def settle(most: int) -> None:
        while len(running) > most:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                running.discard(done)
                done.result()

    def submit(part: Callable[[], None], singly: bool) -> None:
        settle(0 if singly else count - 1)
        running.add(pool.submit(_alone, part))
        if singly:
            settle(0)

    # Set here, as numbers must not depend on who else is multiplying.
    with devices.one_thread_per_product(), ThreadPoolExecutor(count) as pool:
        try:
            yield submit
            settle(0)
        finally:
            pool.shutdown(cancel_futures=True)


def _alone(part: Callable[[], None]) -> None:
    with devices.alone():
        part()
