"""From a question to an answer under way, for whatever listens: callers take turns, and who leaves is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio import to_thread

from lakehouse.query.engine.gate import SHORT_SECONDS, Durations, Gate, Place
from lakehouse.query.engine.postgres_rows import DESCRIBED
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import Cancellation, QueryService, Question, Reply
from lakehouse.query.engine.tokens import Limits


class CallerLeftError(Exception):
    """Nobody waits for the answer any more."""


class Observer:
    """Is told what becomes of calls, by the way that they came in. This one keeps nothing."""

    def note(self, way: str, outcome: str) -> None:
        """A call has an answer, or none; `outcome` may be the kind of an error."""

    def began(self, way: str, seconds: float, *, is_cached: bool) -> None:
        """An answer begins, so long after it was asked for."""

    def gave(self, way: str, rows: int, size: int) -> None:
        """So many rows and bytes of an answer went out."""


@dataclass
class Turn:
    """An answer, and the place that it takes until `end`: already given back where the answer is whole."""

    reply: Reply
    cancellation: Cancellation
    admission: Admission
    question: Question
    place: Place

    def end(self) -> None:
        """The answer was given, or given up. Close it before."""
        self.admission.leave(self.place, self.question)


class Admission:
    """One service's, on one event loop: all that listen for it share it."""

    def __init__(self, service: QueryService):
        settings = service.settings
        self._service = service
        self._seconds = settings.query_seconds
        self._durations = Durations()
        self.gate = Gate(settings.query_workers, settings.query_queue)
        self.observer = Observer()
        """Of HTTP its own endpoints tell it."""

    async def ask(
        self,
        question: Question,
        caller: str,
        limits: Limits,
        gone: Coroutine[Any, Any, None],
        *,
        use_cache: bool = True,
    ) -> Turn:
        """Wait for a turn and ask. `gone` returns when the caller has left.

        Raises:
            QueryError: there is no answer; it says why.
            CallerLeftError: there is nobody to answer.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            turn = await self._answered(question, caller, limits, gone, use_cache=use_cache)
        except QueryError as error:
            self.told(question, error.kind)
            raise
        except (CallerLeftError, asyncio.CancelledError):
            self.told(question, "left")
            raise
        self.told(question, "cached" if turn.reply.is_cached else "answered", loop.time() - started)
        return turn

    def told(self, question: Question, outcome: str, seconds: float | None = None) -> None:
        """Note what became of a question, and after how long its answer began."""
        if _is_noted(question):
            self.observer.note(question.way, outcome)
            if seconds is not None:
                self.observer.began(question.way, seconds, is_cached=outcome == "cached")

    def gave(self, question: Question, rows: int, size: int) -> None:
        """Note what its caller was given."""
        if _is_noted(question):
            self.observer.gave(question.way, rows, size)

    async def _answered(
        self, question: Question, caller: str, limits: Limits, gone: Coroutine[Any, Any, None], *, use_cache: bool
    ) -> Turn:
        leaving = asyncio.ensure_future(gone)
        try:
            seconds = self._durations.expected(question.sql)
            while True:
                turn = await self._turn(question, caller, limits, leaving, seconds, use_cache=use_cache)
                if turn:
                    return turn
                seconds = 2 * SHORT_SECONDS
        finally:
            leaving.cancel()

    async def _turn(
        self, question: Question, caller: str, limits: Limits, leaving: asyncio.Future[None], seconds: float, *,
        use_cache: bool,
    ) -> Turn | None:  # fmt: skip
        """None when the call made way for a shorter one, and must be asked again."""
        place = self.gate.join(caller, limits.at_once, seconds)
        try:
            await asyncio.wait({place.granted, leaving}, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            if not place.granted.done():
                if leaving.done():
                    raise CallerLeftError
                raise QueryError("too-many-calls", f"No worker was free within {self._seconds:g} s.", retry_after=2)
            place.granted.result()
            loop = asyncio.get_running_loop()

            def begins() -> None:
                loop.call_soon_threadsafe(self.gate.begin, place, cancellation.interrupt)

            cancellation = Cancellation(begins)
            reply = await self._asked(question, limits, cancellation, leaving, use_cache=use_cache)
            place.give_way = None
            if place.gave_way and not reply.is_whole:
                await to_thread.run_sync(reply.close)
                raise QueryError("time-limit", "The statement was stopped.")
        except BaseException as error:
            self.leave(place, question)
            if place.gave_way and isinstance(error, QueryError):
                return None
            raise
        turn = Turn(reply, cancellation, self, question, place)
        if reply.is_whole:
            turn.end()
        return turn

    async def _asked(
        self, question: Question, limits: Limits, cancellation: Cancellation, leaving: asyncio.Future[None], *,
        use_cache: bool,
    ) -> Reply:  # fmt: skip
        work = partial(self._service.ask, question, limits, cancellation, use_cache=use_cache)
        asking = asyncio.ensure_future(to_thread.run_sync(work))
        try:
            both: list[asyncio.Future[Any]] = [asking, leaving]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not asking.done():
                cancellation.cancel()
        if asking.done():
            return await asking
        with suppress(QueryError):
            reply = await asking
            await to_thread.run_sync(reply.close)
        raise CallerLeftError

    def leave(self, place: Place, question: Question) -> None:
        """Give a place back, and remember how long it was needed."""
        if place.began:
            took = asyncio.get_running_loop().time() - place.began
            self._durations.note(question.sql, 2 * SHORT_SECONDS if place.gave_way else took)
        self.gate.leave(place)


def _is_noted(question: Question) -> bool:
    """Not one that only describes a statement."""
    return question.way != "http" and question.format != DESCRIBED
