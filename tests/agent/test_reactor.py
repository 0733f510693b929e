"""How work gets into Flux's thread; no Flux is needed for that."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable

from streamflow_fluxop.agent.backends.flux_reactor import Reactor


class TakenMeanwhile(deque[Callable[[], None]]):
    """Work that the thread has just done all of when more comes."""

    def append(self, work: Callable[[], None]) -> None:
        self.clear()
        super().append(work)


async def test_work_that_comes_when_the_thread_is_done_with_the_rest_wakes_it() -> None:
    reactor = Reactor(lambda *_: None, lambda _: None, "", frozenset())
    reactor._todo = TakenMeanwhile([lambda: None])
    reactor.cancel("job")
    assert select.select([reactor._wake_out], [], [], 0)[0]
    os.close(reactor._wake_in)
    os.close(reactor._wake_out)
