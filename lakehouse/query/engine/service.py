"""A call from question to answer: which release, is the answer known, else a worker's. The same for every way in."""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lakehouse.lake.ducklake import create_secret
from lakehouse.lake.extensions import extension_directory
from lakehouse.query.engine.cache import AnswerCache, CachedAnswer
from lakehouse.query.engine.calls import Call, Config
from lakehouse.query.engine.formats import JSON
from lakehouse.query.engine.frames import Kind
from lakehouse.query.engine.literals import Literal
from lakehouse.query.engine.pool import Pool, WorkerProcess
from lakehouse.query.engine.postgres_rows import DESCRIBED
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.releases import Releases, Source
from lakehouse.query.engine.sights import scope_of
from lakehouse.query.engine.tokens import Limits
from lakehouse.query.engine.usage import SQL_CHARACTERS, UsageLog, Use
from lakehouse.settings import Settings
from lakehouse.storage import Storage, open_storage

Frames = Generator[tuple[Kind, bytes], None, None]
DEFAULT_ROWS = 1_000
DEADLY_SECONDS = 300.0
DEADLY_KNOWN = 1_000
HELD_BACK_BYTES = 4 << 20
"""Up to here an answer waits for its end, so that its headers can say whether it is whole."""


@dataclass(frozen=True)
class Question:
    """What a caller asks."""

    sql: str
    environment: str
    release: int | None = None
    format: str = JSON
    limit: int = DEFAULT_ROWS
    parameters: dict[str, Any] = field(default_factory=dict)
    dialect: str = ""
    """`postgres` when a client of PostgreSQL wrote it: what DuckDB does not understand is translated."""
    schema: str = ""
    """Where tables lie that it names without their schema."""
    literals: list[Literal] | None = None
    """Values for `$1`, `$2`, …."""
    way: str = "http"
    """How it came in."""


@dataclass
class Reply:
    """An answer on its way. Read `body` to its end, or close it: that gives the worker back."""

    source: Source
    etag: str
    """Empty for an answer that may differ the next time."""
    is_cached: bool
    is_warm: bool
    body: Iterator[bytes]
    columns: list[tuple[str, str]] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    """Of a statement that is described: the types of its `$1`, `$2`, …, empty for one that nothing says."""
    translated: bool = False
    """Whether it was translated from PostgreSQL's dialect."""
    is_whole: bool = False
    """Whether the three below are known already: always once `body` has ended."""
    rows: int = 0
    cut: str = ""
    execution_ms: float = 0.0

    def close(self) -> None:
        """Stop the answer where it is and give its worker back."""
        if isinstance(self.body, Generator):
            self.body.close()


class Cancellation:
    """Lets another thread stop a call that nobody waits for any more."""

    def __init__(self, begins: Callable[[], None] = lambda: None) -> None:
        self.begins = begins
        """Called from another thread when the statement begins: its release is open now."""
        self._at_work: tuple[WorkerProcess, str] | None = None
        self._is_cancelled = False

    def watch(self, worker: WorkerProcess, call: str) -> None:
        """This worker runs the call. It may run another's by the time that this one is cancelled."""
        self._at_work = worker, call

    def is_cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_cancelled

    def interrupt(self) -> None:
        """Stop the call if that takes no force."""
        if self._at_work:
            worker, call = self._at_work
            worker.cancel(call, by_force=False)

    def cancel(self) -> None:
        """Stop the call."""
        self._is_cancelled = True
        if self._at_work:
            worker, call = self._at_work
            worker.cancel(call)


def reading_settings(settings: Settings) -> Settings:
    """The settings with the key that only reads the published zone, where there is one."""
    if not settings.query_s3_access_key_id:
        return settings
    return settings.model_copy(
        update={
            "s3_access_key_id": settings.query_s3_access_key_id,
            "s3_secret_access_key": settings.query_s3_secret_access_key,
        }
    )


class QueryService:
    """Answers questions over releases. Holds no credential but one that reads."""

    def __init__(self, settings: Settings, *, workers: int | None = None):
        self.settings = reading_settings(settings)
        self.storage: Storage = open_storage(self.settings)
        self.releases = Releases(self.storage)
        self.cache = AnswerCache(settings.query_cache_mb << 20)
        self.pool = Pool(_worker_config(self.settings), workers or settings.query_workers)
        self.usage = UsageLog(settings.data_dir)
        self._deadly: OrderedDict[str, tuple[float, QueryError]] = OrderedDict()
        """Statements that cost a worker process: when, and how."""

    @property
    def limits(self) -> Limits:
        """The service's own, for a caller without a token."""
        settings = self.settings
        return Limits(
            settings.query_rows, settings.query_mb << 20, settings.query_seconds,
            settings.query_workers + settings.query_queue,
        )  # fmt: skip

    def start(self) -> None:
        """Start the workers, without waiting for them."""
        self.pool.start()

    def close(self) -> None:
        """End the workers."""
        self.pool.close()

    def etag(self, question: Question, limits: Limits, source: Source) -> str:
        """The same for the same question to the same release: it names an answer that never changes."""
        told = [
            source.manifest.environment, source.manifest.number, source.manifest.cut_at, question.sql,
            question.parameters, question.format, min(question.limit, limits.rows), limits.bytes,
            question.dialect, question.schema, question.literals, scope_of(limits.sees),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    def known(self, question: Question, limits: Limits, source: Source) -> Reply | None:
        """The answer when it was given before and is still kept."""
        etag = self.etag(question, limits, source)
        found = self.cache.get(etag)
        if found is None:
            return None
        reply = Reply(
            source.seen_by(limits.sees), etag, True, True, iter([found.body]),
            columns=found.columns, translated=found.translated, parameters=found.parameters,
            is_whole=True, rows=found.rows, cut=found.cut, execution_ms=found.execution_ms,
        )  # fmt: skip
        return self._counted(question, limits, time.monotonic(), reply)

    def ask(
        self,
        question: Question,
        limits: Limits,
        cancellation: Cancellation | None = None,
        *,
        use_cache: bool = True,
        until: float | None = None,
    ) -> Reply:
        """Answer a question. Blocks until the answer has ended or has more than HELD_BACK_BYTES.

        `until` is a moment of the monotonic clock: by then it has answered, or given up. Without it a call waits for a
        worker until there is one.

        Raises:
            QueryError: there is no answer; it says why.
        """
        try:
            question.sql.encode()
        except UnicodeEncodeError:
            raise QueryError("syntax", "The statement is no Unicode text: it holds half a character.") from None
        cancellation = cancellation or Cancellation()
        source = self.releases.find(question.environment, question.release)
        reply = self.known(question, limits, source) if use_cache else None
        if reply:
            return reply
        started = time.monotonic()
        try:
            reply = self._computed(question, limits, source, cancellation, until)
        except QueryError as error:
            if error.kind != "unavailable":
                raise
            # Its release may just have been let go of: follow the pointer again. Where that leads to the same release
            # a second try would only be a second worker's time.
            self.releases.forget(question.environment)
            moved = self.releases.find(question.environment, question.release)
            if moved.attach == source.attach:
                raise
            reply = self._computed(question, limits, moved, cancellation, until)
        return self._counted(question, limits, started, reply)

    def _computed(
        self, question: Question, limits: Limits, source: Source, cancellation: Cancellation, until: float | None
    ) -> Reply:
        source = source.seen_by(limits.sees)
        call = Call(
            id=uuid.uuid4().hex,
            sql=question.sql,
            attach=source.attach,
            allowed=source.allowed,
            served=source.served,
            format=question.format,
            max_rows=min(question.limit, limits.rows),
            max_bytes=limits.bytes,
            parameters=question.parameters,
            about=source.about(),
            dialect=question.dialect,
            schema=question.schema,
            literals=question.literals,
            views=source.views,
            keys=source.keys,
        )
        known = hashlib.sha256(json.dumps([question.sql, question.parameters]).encode()).hexdigest()
        since, error = self._deadly.get(known, (-math.inf, None))
        if error and time.monotonic() - since < DEADLY_SECONDS:
            again = f"It cost a worker process, and is not tried again for {DEADLY_SECONDS / 60:g} minutes."
            raise QueryError(error.kind, f"{error.detail} {again}")
        worker = self.pool.take(source.attach, until)
        cancellation.watch(worker, call.id)
        frames = worker.ask(
            call, limits.seconds, until=until, is_cancelled=cancellation.is_cancelled, begins=cancellation.begins
        )
        try:
            reply, pieces, rest = self._begun(frames, source)
        except BaseException as error:
            frames.close()
            if (
                isinstance(error, QueryError) and error.kind in ("time-limit", "crashed")
                and not (worker.is_alive or cancellation.is_cancelled() or until)
            ):  # fmt: skip
                self._deadly[known] = time.monotonic(), error
                if len(self._deadly) > DEADLY_KNOWN:
                    self._deadly.popitem(last=False)
            self.pool.give_back(worker)
            raise
        if reply.etag:  # repeatable
            reply.etag = self.etag(question, limits, source)
        if reply.is_whole:
            self.pool.give_back(worker)
            body = b"".join(pieces)
            if reply.etag:
                kept = CachedAnswer(
                    body, reply.rows, reply.cut, reply.execution_ms, reply.columns, reply.translated, reply.parameters
                )
                self.cache.put(reply.etag, kept)
            reply.body = iter([body])
        else:
            body_pieces = self._streamed(worker, reply, pieces, rest)
            # Begun, so that to close it gives the worker back whether or not anything was read.
            next(body_pieces)
            reply.body = body_pieces
        return reply

    def _counted(self, question: Question, limits: Limits, started: float, reply: Reply) -> Reply:
        """Note the use of a share, when its answer ends."""
        if not limits.share or question.format == DESCRIBED:
            return reply
        manifest = reply.source.manifest

        def note(size: int) -> None:
            seconds = 0.0 if reply.is_cached else round(time.monotonic() - started, 3)
            self.usage.note(
                Use(
                    f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", limits.share, manifest.environment, manifest.number,
                    question.sql[:SQL_CHARACTERS], reply.rows, size, seconds, question.way,
                )
            )  # fmt: skip

        def noted(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
            size = 0
            try:
                yield b""
                for piece in pieces:
                    size += len(piece)
                    yield piece
            finally:
                if isinstance(pieces, Generator):
                    pieces.close()
                note(size)

        if reply.is_whole:
            body = b"".join(reply.body)
            note(len(body))
            reply.body = iter([body])
        else:
            counted = noted(reply.body)
            next(counted)  # so that to close it is noted
            reply.body = counted
        return reply

    def _begun(self, frames: Frames, source: Source) -> tuple[Reply, list[bytes], Frames]:
        """Read until the end, or until more is held back than may be."""
        kind, payload = next(frames)
        assert kind == b"H"
        header = json.loads(payload)
        reply = Reply(
            source, "repeatable" if header["repeatable"] else "", False, header["warm"], iter(()),
            columns=[(name, type_name) for name, type_name in header["columns"]],
            parameters=header.get("parameters", []), translated=header.get("translated", False),
        )  # fmt: skip
        pieces: list[bytes] = []
        size = 0
        for kind, payload in frames:
            if kind == b"F":
                _end(reply, payload)
                break
            pieces.append(payload)
            size += len(payload)
            if size > HELD_BACK_BYTES:
                break
        return reply, pieces, frames

    def _streamed(
        self, worker: WorkerProcess, reply: Reply, pieces: list[bytes], rest: Frames
    ) -> Generator[bytes, None, None]:
        try:
            yield b""
            while pieces:
                yield pieces.pop(0)
            for kind, payload in rest:
                if kind == b"F":
                    _end(reply, payload)
                else:
                    yield payload
        finally:
            rest.close()
            self.pool.give_back(worker)


def _end(reply: Reply, payload: bytes) -> None:
    footer = json.loads(payload)
    reply.rows, reply.cut, reply.execution_ms = footer["rows"], footer["cut"], footer["execution_ms"]
    reply.is_whole = True


def _worker_config(settings: Settings) -> Config:
    secret = ""
    if settings.stores_on_s3:
        from lakehouse.storage.s3 import duckdb_secret

        secret = create_secret(duckdb_secret(settings))
    return Config(
        extension_directory=str(extension_directory(settings.cache_dir)),
        threads=settings.threads,
        memory_bytes=settings.query_memory_mb << 20,
        secret=secret,
    )
