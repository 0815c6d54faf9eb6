"""How many calls may be at work and how many may wait: the rest is told to come again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lakehouse.query.problems import QueryError


class Gate:
    """At most `workers` calls at work, `queue` waiting, none for longer than `seconds`. One event loop's."""

    def __init__(self, workers: int, queue: int, seconds: float):
        self._free = asyncio.Semaphore(workers)
        self._queue = queue
        self._seconds = seconds
        self.waiting = 0
        self.at_work = 0
        self._by_caller: Counter[str] = Counter()

    @asynccontextmanager
    async def passing(self, caller: str, at_once: int) -> AsyncIterator[None]:
        """Wait for a place and have it inside this block.

        Raises:
            QueryError: there are too many calls, of this caller or of all.
        """
        if self._by_caller[caller] >= at_once:
            raise QueryError("too-many-calls", f"This token may have {at_once} calls at once.", retry_after=1)
        self._by_caller[caller] += 1
        try:
            await self._enter()
            try:
                self.at_work += 1
                yield
            finally:
                self.at_work -= 1
                self._free.release()
        finally:
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]

    async def _enter(self) -> None:
        if self._free.locked() and self.waiting >= self._queue:
            raise QueryError(
                "too-many-calls", f"{self.at_work} calls are at work and {self.waiting} wait: no more may.",
                retry_after=max(1, round(self._seconds / 10)),
            )  # fmt: skip
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise QueryError(
                "too-many-calls", f"No worker was free within {self._seconds:g} seconds.",
                retry_after=max(1, round(self._seconds / 10)),
            ) from None  # fmt: skip
        finally:
            self.waiting -= 1
