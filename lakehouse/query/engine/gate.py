"""Whose turn it is: a share for each caller, what is short before what is long, the rest told to come again."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lakehouse.query.engine.problems import QueryError

SHORT_SECONDS = 1.0
"""A statement that takes longer is long, and leaves a worker to the short ones."""
LEAST_SECONDS = 0.01
SHAPES_KNOWN = 4_096
VALUE = re.compile(r"(?:'[^']*')+|\d+")


class Durations:
    """How long statements took, by their shape: texts and numbers left out."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, float] = OrderedDict()

    def expected(self, sql: str) -> float:
        """Seconds; what was never seen is taken for short."""
        return self._known.get(_shape(sql), 0.0)

    def note(self, sql: str, seconds: float) -> None:
        """One took so long."""
        shape = _shape(sql)
        known = self._known.pop(shape, seconds)
        self._known[shape] = (known + seconds) / 2
        if len(self._known) > SHAPES_KNOWN:
            self._known.popitem(last=False)


def _shape(sql: str) -> bytes:
    return hashlib.blake2b(VALUE.sub("?", sql).encode(errors="replace"), digest_size=16).digest()


@dataclass(eq=False)
class Place:
    """One call's: waiting until `granted`, then at work."""

    caller: str
    is_long: bool
    start: float
    finish: float
    granted: asyncio.Future[None]
    began: float = 0.0
    """When its statement did; 0 while the worker and the release are made ready for it."""
    give_way: Callable[[], None] | None = None
    """Stops the call, so that it can be asked again later. None while nothing of it can be stopped."""
    gave_way: bool = False


class Gate:
    """At most `workers` calls at work and `queue` waiting. One event loop's.

    Weighted fair queueing: each caller's short and long calls are queues of their own, which advance by the seconds
    that their calls are expected to take. Long calls leave one worker free, where there are two. One that was taken for
    short and isn't gives way as soon as somebody waits, and comes back as a long one.
    """

    def __init__(self, workers: int, queue: int):
        self._workers = workers
        self._queue = queue
        self._now = 0.0  # virtual time: seconds of work
        self._finish: dict[tuple[str, bool], float] = {}
        self._waiting: list[Place] = []
        self._running: list[Place] = []
        self._by_caller: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    @property
    def at_work(self) -> int:
        """Calls that have a worker."""
        return len(self._running)

    def join(self, caller: str, at_once: int, seconds: float) -> Place:
        """A place for a call that is expected to take so long; give it to `leave` whatever happens.

        Raises:
            QueryError: there are too many calls, of this caller or of all.
        """
        if self._by_caller[caller] >= at_once:
            raise QueryError("too-many-calls", f"This token may have {at_once} calls at once.", retry_after=1)
        flow = (caller, seconds > SHORT_SECONDS)
        start = max(self._now, self._finish.get(flow, 0.0))
        place = Place(*flow, start, start + max(seconds, LEAST_SECONDS), asyncio.get_running_loop().create_future())
        if self._next([*self._waiting, place]) is not place and len(self._waiting) >= self._queue:
            self._make_room(caller)
        self._finish[flow] = place.finish
        self._by_caller[caller] += 1
        self._waiting.append(place)
        self._grant()
        self._relieve()
        return place

    def leave(self, place: Place) -> None:
        """The call has ended, or waits no more."""
        if place in self._running:
            self._running.remove(place)
        elif place in self._waiting:
            self._waiting.remove(place)
        else:
            return  # a full queue left it out
        self._count_out(place)
        self._grant()

    def _count_out(self, place: Place) -> None:
        self._by_caller[place.caller] -= 1
        if not self._by_caller[place.caller]:
            del self._by_caller[place.caller]
        if not self._waiting:
            self._finish.clear()

    def _make_room(self, caller: str) -> None:
        """A full queue: whoever has most in it gives up his last place, unless that is about this caller himself."""
        counts = Counter(place.caller for place in self._waiting)
        most, count = max(counts.items(), key=lambda one: one[1], default=(caller, 0))
        busy = QueryError(
            "too-many-calls", f"{self.at_work} calls are at work and {self.waiting} wait: no more may.", retry_after=2
        )
        if count <= counts[caller] + 1:
            raise busy
        last = max((place for place in self._waiting if place.caller == most), key=lambda one: one.finish)
        self._waiting.remove(last)
        self._count_out(last)
        last.granted.set_exception(busy)

    def _most_long(self) -> int:
        return max(1, self._workers - 1)

    def _next(self, waiting: list[Place]) -> Place | None:
        """Whose turn is next, if there is a worker for it."""
        if len(self._running) >= self._workers:
            return None
        long_may = sum(place.is_long for place in self._running) < self._most_long()
        return min(
            (one for one in waiting if long_may or not one.is_long), key=lambda one: one.finish, default=None
        )  # fmt: skip

    def _grant(self) -> None:
        while place := self._next(self._waiting):
            self._waiting.remove(place)
            self._now = max(self._now, place.start)
            self._running.append(place)
            place.granted.set_result(None)

    def begin(self, place: Place, give_way: Callable[[], None]) -> None:
        """The statement runs from now on, and can be stopped."""
        loop = asyncio.get_running_loop()
        place.began, place.give_way = loop.time(), give_way
        if not place.is_long:
            loop.call_later(SHORT_SECONDS, self._is_overdue, place)

    def _is_overdue(self, place: Place) -> None:
        if place in self._running:
            place.is_long = True
            self._relieve()

    def _relieve(self) -> None:
        """While long calls have all workers, the youngest that can be asked again makes way for who waits."""
        long = [place for place in self._running if place.is_long]
        if any(place.gave_way for place in long) or all(place.is_long for place in self._waiting):
            return
        if len(long) >= self._workers > self._most_long():
            able = [place for place in long if place.give_way]
            if able:
                youngest = max(able, key=lambda one: one.began)
                youngest.gave_way = True
                assert youngest.give_way
                youngest.give_way()
