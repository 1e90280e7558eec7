"""Small pieces of scoring beside one another in threads of this process."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from vla import devices


@contextlib.contextmanager
def side_by_side() -> Iterator[Callable[..., None]]:
    """A function that has a part of a table scored, beside as many others as there are cores for; `singly` by itself.

    Parts are done when the block ends. An error of any ends it.
    """
    count, running = devices.workers(), set[Future[None]]()

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
