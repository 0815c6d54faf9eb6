"""Whose turn it is: by share, short before long, with nobody starved. The time is the test's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.query.engine.gate import SHORT_SECONDS, Durations, Gate, Place
from lakehouse.query.engine.problems import QueryError

LONG = 10 * SHORT_SECONDS


class Clock(asyncio.SelectorEventLoop):
    """A loop that skips the time in which it has nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now, selector = 0.0, self._selector  # type: ignore[attr-defined]
        look = selector.select

        def select(timeout: float | None) -> Any:
            assert timeout is not None, "nobody will ever be woken"
            self.now += timeout
            return look(0)

        selector.select = select

    def time(self) -> float:
        return self.now


def played(scene: Coroutine[Any, Any, None]) -> None:
    """Run to its end."""
    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(scene)


def granted(*places: Place) -> list[bool]:
    """Which are at work."""
    return [place.granted.done() and not place.granted.exception() for place in places]


def test_what_is_known_to_be_long_leaves_a_worker_to_what_is_short() -> None:
    async def scene() -> None:
        gate = Gate(2, 10)
        hogs = [gate.join("hog", 99, LONG) for _ in range(4)]
        assert granted(*hogs) == [True, False, False, False]
        for _ in range(20):
            short = gate.join("ann", 99, 0.1)
            assert granted(short) == [True]
            gate.leave(short)
        gate.leave(hogs[0])
        assert granted(*hogs[1:]) == [True, False, False]

    played(scene())


def test_what_turns_out_long_makes_way_once_somebody_waits_and_only_then() -> None:
    async def scene() -> None:
        gate, stopped = Gate(2, 10), list[int]()
        hogs = [gate.join("hog", 99, 0.0) for _ in range(2)]
        for number, hog in enumerate(hogs):
            gate.begin(hog, lambda number=number: stopped.append(number))  # type: ignore[misc]
        await asyncio.sleep(5 * SHORT_SECONDS)
        assert stopped == []
        short = gate.join("ann", 99, 0.1)
        assert len(stopped) == 1
        gate.join("ann", 99, 0.1)
        assert len(stopped) == 1
        gate.leave(hogs[stopped[0]])
        assert granted(short) == [True]
        again = gate.join("hog", 99, LONG)
        gate.leave(short)
        assert granted(again) == [False]

    played(scene())


def test_a_single_worker_is_taken_from_nobody_and_serves_the_short_first() -> None:
    async def scene() -> None:
        gate = Gate(1, 10)
        first = gate.join("hog", 99, LONG)
        second = gate.join("hog", 99, LONG)
        short = gate.join("ann", 99, 0.1)
        gate.leave(first)
        assert granted(second, short) == [False, True]
        gate.leave(short)
        assert granted(second) == [True]

    played(scene())


def test_a_caller_with_many_calls_waits_behind_one_with_few() -> None:
    async def scene() -> None:
        gate = Gate(1, 100)
        running = gate.join("x", 99, 0.1)
        many = [gate.join("many", 99, 0.1) for _ in range(50)]
        few = gate.join("few", 99, 0.1)
        gate.leave(running)
        if not granted(few)[0]:
            gate.leave(many[0])
        assert granted(few) == [True]

    played(scene())


def test_a_full_queue_has_room_for_who_has_nothing_in_it() -> None:
    async def scene() -> None:
        gate = Gate(1, 3)
        mine = [gate.join("many", 99, 0.1) for _ in range(4)]
        with pytest.raises(QueryError) as caught:
            gate.join("many", 99, 0.1)
        assert caught.value.kind == "too-many-calls"
        few = gate.join("few", 99, 0.1)
        assert [place.granted.done() for place in mine] == [True, False, False, True]
        with pytest.raises(QueryError):
            mine[-1].granted.result()
        gate.leave(mine[-1])
        assert (gate.waiting, gate.at_work) == (3, 1)
        gate.leave(few)
        with pytest.raises(QueryError, match="at once"):
            gate.join("many", 3, 0.1)

    played(scene())


def test_who_leaves_while_waiting_gives_his_place_to_the_next() -> None:
    async def scene() -> None:
        gate = Gate(1, 1)
        first = gate.join("a", 9, 0.1)
        second = gate.join("b", 9, 0.1)
        gate.leave(second)
        third = gate.join("c", 9, 0.1)
        gate.leave(first)
        assert granted(third) == [True]
        gate.leave(third)
        assert (gate.waiting, gate.at_work) == (0, 0)

    played(scene())


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.1, LONG]), st.floats(0, 20), st.booleans()),
        max_size=60,
    ),
    st.integers(1, 4),
)
def test_whatever_comes_and_goes_everybody_is_served_and_no_place_is_lost(
    calls: list[tuple[str, float, float, bool]], workers: int
) -> None:
    async def scene() -> None:
        gate, served = Gate(workers, 1_000), list[int]()

        async def call(number: int, caller: str, seconds: float, takes: float, leaves: bool) -> None:
            await asyncio.sleep(number / 10)
            while True:
                place, way = gate.join(caller, 1_000, seconds), asyncio.Event()
                try:
                    if leaves:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(asyncio.shield(place.granted), 0.5)
                        return
                    await place.granted
                    assert gate.at_work <= workers
                    gate.begin(place, way.set)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(way.wait(), takes)
                    if not way.is_set():
                        served.append(number)
                        return
                    seconds = 2 * SHORT_SECONDS
                finally:
                    gate.leave(place)

        await asyncio.gather(*(call(number, *one) for number, one in enumerate(calls)))
        assert (gate.waiting, gate.at_work) == (0, 0)
        assert sorted(served) == [number for number, one in enumerate(calls) if not one[3]]

    played(scene())


def test_durations_are_known_by_a_statements_shape() -> None:
    durations = Durations()
    durations.note("SELECT * FROM t WHERE name = 'ann' AND n < 5", 8.0)
    assert durations.expected("SELECT * FROM t WHERE name = 'it''s' AND n < 77") == 8.0
    assert durations.expected("SELECT * FROM u") == 0.0
    durations.note("SELECT * FROM t WHERE name = 'bob' AND n < 6", 0.0)
    assert durations.expected("SELECT * FROM t WHERE name = '' AND n < 1") == 4.0
    for hostile in ("'" * 99_999, "/*" * 50_000, "1" * 100_000, "\ud800"):
        durations.expected(hostile)
