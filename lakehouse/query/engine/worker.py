"""A worker: a process of its own that holds releases open and answers one statement at a time.

It has no credentials but a key that reads, no environment, and limits that the operating system holds: DuckDB's own
don't hold everywhere. Its owner kills it when a statement does not end. Started by `pool`, spoken to by `frames`.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
from collections import OrderedDict
from contextlib import closing, suppress
from dataclasses import replace
from json import loads
from typing import Any

import duckdb

from lakehouse.query.engine import frames
from lakehouse.query.engine.calls import RELEASE, Call, Config
from lakehouse.query.engine.dialect import readings
from lakehouse.query.engine.formats import FORMATS, Answer
from lakehouse.query.engine.guard import Statement, check
from lakehouse.query.engine.literals import filled, from_json, inferred, places, with_oids
from lakehouse.query.engine.parsing import Parser, first_line
from lakehouse.query.engine.plans import check_plan, described
from lakehouse.query.engine.postgres_rows import DESCRIBED, PREFIX, PgRows
from lakehouse.query.engine.postgres_types import catalog_type
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.sessions import Releases
from lakehouse.query.engine.values import selecting

STATEMENTS_KNOWN = 256
MAX_PLACES = 10_000
"""For values in one statement."""
BASE_BYTES = 384 << 20
"""What Python and the libraries take before a statement takes anything."""
RETIRED_SHARE = 0.85
"""A worker that keeps more than this part of its memory after a call is replaced: the next caller gets all of it."""
FEW_ROWS = 10_000
"""Up to here a limit of rows is the statement's own; DuckDB would gather the rows of a larger one before the first."""
TOO_MUCH = "The statement needs more memory than a call may have."
PR_SET_NO_NEW_PRIVS = 38
RELEASE_NAME = re.compile(rf"{RELEASE}(_[0-9a-f]{{32}})?")


class NotUnderstoodError(Exception):
    """A statement was refused or not understood as it stands: another reading of it may do."""

    def __init__(self, why: QueryError):
        super().__init__(str(why))
        self.why = why


def limit_process(memory_bytes: int) -> None:
    """Take from this process what it never needs: more memory, files to write, children's dumps."""
    resource.setrlimit(resource.RLIMIT_DATA, (BASE_BYTES + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


class Worker:
    """Answers calls from its owner until the owner is gone."""

    def __init__(self, owner: socket.socket, config: Config):
        self._owner = owner
        self._config = config
        self._releases = Releases(config)
        self._parser = Parser()
        self._calls: list[Call] = []
        self._given = threading.Condition()
        self._is_begun = False
        self._running: tuple[str, duckdb.DuckDBPyConnection] | None = None
        # What a look at a statement found: for one release it never changes, unless parameters change its types.
        self._known: OrderedDict[tuple[str, ...], tuple[Statement, list[tuple[str, Any]]]] = OrderedDict()

    def run(self) -> None:
        """Answer one call after the other. The reader thread sees a cancellation while a statement runs."""
        threading.Thread(target=self._read, daemon=True).start()
        frames.send(self._owner, b"R")
        while True:
            with self._given:
                while not self._calls:
                    self._given.wait()
                call = self._calls.pop(0)
            self._is_begun = False
            try:
                self._answer(call)
            except QueryError as error:
                self._fail(call, error)
            except Exception as error:
                if "failed to allocate" in str(error):  # Arrow's: it has no type of its own
                    self._fail(call, QueryError("memory-limit", TOO_MUCH))
                    continue
                # Whatever a statement finds in the libraries that write its answer, the next call's worker lives.
                self._fail(call, QueryError("failed", f"This can't be answered: {self._cleaned(error, call)}"))

    def _begin(self) -> None:
        """The statement's time begins."""
        if not self._is_begun:
            frames.send(self._owner, b"R")
            self._is_begun = True

    def _fail(self, call: Call, error: QueryError) -> None:
        if error.kind == "memory-limit":
            # What the statement took goes with its DuckDB, and back to the system.
            self._releases.close(call)
            gc.collect()
            if sys.platform == "linux":
                ctypes.CDLL(None).malloc_trim(0)
        frames.send_json(self._owner, b"E", {"error": error.as_dict(), "retire": self._is_full()})

    def _is_full(self) -> bool:
        return _data_bytes() > BASE_BYTES + RETIRED_SHARE * self._config.memory_bytes

    def _read(self) -> None:
        try:
            while True:
                kind, payload = frames.receive(self._owner)
                if kind == b"Q":
                    with self._given:
                        self._calls.append(Call(**loads(payload)))
                        self._given.notify()
                elif kind == b"C" and (running := self._running) and running[0] == payload.decode():
                    running[1].interrupt()
        except (EOFError, OSError):
            # The owner is gone. Linux's own signal for that (PR_SET_PDEATHSIG) comes when the thread ends that started
            # this process, whether or not its process lives on.
            os._exit(0)

    def _answer(self, call: Call) -> None:
        started = time.perf_counter()
        if call.dialect != "postgres":
            self._answered(call, started)
            return
        asked = call
        if call.format == DESCRIBED:
            # Of a statement that is only described nobody has said all values.
            wanted = max((number for _, _, number in places(call.sql)), default=0)
            told = list(call.literals or ())
            call = replace(call, literals=told + [("", None)] * (min(wanted, MAX_PLACES) - len(told)))
        if call.literals is not None:
            call = replace(call, sql=filled(call.sql, from_json(call.literals)), literals=None)
        first: QueryError | None = None
        try:
            for sql, is_told in readings(call.sql):
                try:
                    self._answered(replace(call, sql=sql), started, asked=asked.sql, translated=is_told)
                    return
                except NotUnderstoodError as error:
                    first = first or error.why
                    self._begin()  # to translate takes time, which is the statement's
        except QueryError as error:
            # What the translation says is about another text; it says more than "syntax" alone.
            raise (first if first and first.kind != "syntax" else error) from None
        if first:
            raise first

    def _answered(self, call: Call, started: float, *, asked: str = "", translated: bool = False) -> None:
        """Answer as the statement stands.

        Raises:
            QueryError: it failed.
            NotUnderstoodError: PostgreSQL's client wrote it, and it was refused or not understood: nothing was sent.
        """
        known = self._known.get(call.meaning)
        try:
            statement = known[0] if known else check(self._parser, call.sql, call.served, call.schema)
        except QueryError as error:
            raise (NotUnderstoodError(error) if asked else error) from None
        if statement.explain and call.views is not None:
            raise QueryError("refused", "EXPLAIN is not answered to this token: a plan tells of what is not shared.")
        session: duckdb.DuckDBPyConnection | None = None
        try:
            release, warm = self._releases.open(call)
            session = release.session(statement)
        except duckdb.Error as error:
            self._releases.close(call)
            raise QueryError("unavailable", f"The release can't be opened: {self._cleaned(error, call)}") from None
        self._begin()
        with closing(session):
            self._running = (call.id, session)
            try:
                try:
                    found = self._columns(call, session, statement)
                except QueryError as error:
                    raise (NotUnderstoodError(error) if asked and error.kind == "failed" else error) from None
                told = {"warm": warm, "translated": translated}
                if call.format == DESCRIBED:
                    self._describe(asked, found, release.column_types(statement.tables), told)
                else:
                    self._send(call, session, statement, found, started, told)
            except duckdb.Error as error:
                raise self._explained(error, call) from None
            except (MemoryError, OverflowError) as error:
                raise QueryError("memory-limit", str(error) or "The statement needs more memory than it may.") from None
            finally:
                self._running = None

    def _send(
        self, call: Call, session: duckdb.DuckDBPyConnection, statement: Statement, found: list[tuple[str, Any]],
        started: float, told: dict[str, Any],
    ) -> None:  # fmt: skip
        # What its columns are says how they travel.
        chosen = PgRows.named(call.format) if call.format.startswith(PREFIX) else FORMATS[call.format]
        if statement.explain:
            sending = _planned(statement)
        elif isinstance(chosen, PgRows):
            sending = chosen.sent(statement.sql, found)
        else:
            sending = selecting(statement.sql, found, chosen.casts)
        if call.max_rows <= FEW_ROWS and not statement.explain:
            # DuckDB counts no texts in what it computes ahead of its reader: of wide rows that is half a gigabyte.
            sending = f"SELECT * FROM (\n{sending}\n) LIMIT {call.max_rows + 1}"
        try:
            session.execute(sending, call.parameters or None)
        except duckdb.Error as error:
            before = sending[: sending.index(statement.sql)].count("\n")
            raise self._explained(error, call, lines_before=before) from None
        columns = [(name, _type_name(kind)) for name, kind in found]
        frames.send_json(
            self._owner,
            b"H",
            {"columns": columns, "repeatable": statement.repeatable, "pid": os.getpid(), **told},
        )

        def execution_ms() -> float:
            return (time.perf_counter() - started) * 1000

        answer = Answer(session, columns, call.max_rows, call.max_bytes, call.about | {"warm": told["warm"]})
        written = chosen.write(answer, lambda parts: frames.send(self._owner, b"D", *parts), execution_ms)
        frames.send_json(
            self._owner,
            b"F",
            {
                "rows": written.rows,
                "cut": written.cut,
                "execution_ms": execution_ms(),
                "retire": self._is_full(),
            },
        )

    def _describe(
        self, asked: str, found: list[tuple[str, Any]], types: dict[str, str], told: dict[str, Any]
    ) -> None:  # fmt: skip
        """Say what its columns are, and its places for values, without running it."""
        named: dict[int, str] = {}
        numbers = {number for _, _, number in places(asked)}
        if numbers:
            with suppress(QueryError):
                named = inferred(self._parser.parse(with_oids(asked)).node, types)
        columns = [(name, _type_name(kind)) for name, kind in found]
        parameters = [named.get(number, "") for number in range(1, max(numbers, default=0) + 1)]
        frames.send_json(
            self._owner, b"H", {"columns": columns, "parameters": parameters, "repeatable": True, **told}
        )  # fmt: skip
        frames.send_json(self._owner, b"F", {"rows": 0, "cut": "", "execution_ms": 0.0, "retire": self._is_full()})

    def _columns(self, call: Call, session: duckdb.DuckDBPyConnection, statement: Statement) -> list[tuple[str, Any]]:
        """The columns of the answer, of a statement whose plan reads nothing but the release."""
        known = self._known.get(call.meaning)
        if known and not call.parameters:
            return known[1]
        try:
            check_plan(
                session, statement.sql, call.parameters, asks_catalog=statement.asks_catalog, tables=call.views
            )  # fmt: skip
        except duckdb.Error as error:
            raise self._explained(error, call, lines_before=1) from None
        found = described(session, _planned(statement), call.parameters)
        if call.dialect == "postgres":
            found = _as_postgres(statement, found)
        if not call.parameters:
            self._known[call.meaning] = statement, found
            if len(self._known) > STATEMENTS_KNOWN:
                self._known.popitem(last=False)
        return found

    def _explained(self, error: duckdb.Error, call: Call, lines_before: int = 0) -> QueryError:
        text = self._cleaned(error, call)
        if isinstance(error, duckdb.InterruptException):
            return QueryError("time-limit", "The statement was stopped.")
        if isinstance(error, duckdb.OutOfMemoryException) or "allocat" in text:
            return QueryError("memory-limit", TOO_MUCH)
        if isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
            self._releases.close(call)
            return QueryError("failed", "DuckDB gave up on this statement.")
        if isinstance(error, (duckdb.IOException, duckdb.HTTPException, duckdb.PermissionException)):
            self._releases.close(call)
            return QueryError("unavailable", f"The release can't be read: {text}")
        return QueryError("failed", text, *_place_of(error, call.sql, lines_before))

    def _cleaned(self, error: Exception, call: Call) -> str:
        """The message without addresses."""
        text = first_line(error)
        root = call.allowed.rsplit("/published/", 1)[0]
        for word in {call.allowed, root, self._config.extension_directory}:
            text = text.replace(word, "…")
        return RELEASE_NAME.sub("…", text)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts, as far as it is told (Linux)."""
    try:
        with open("/proc/self/statm") as sizes:
            return int(sizes.read().split()[5]) * resource.getpagesize()
    except OSError:
        return 0


def _planned(statement: Statement) -> str:
    return f"{statement.explain}\n{statement.sql}" if statement.explain else statement.sql


def _as_postgres(statement: Statement, columns: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """With PostgreSQL's names where these differ, `count` for `count_star()`, and the types of its catalog."""
    told = statement.names
    if "*" in told:
        first, last = told.index("*"), len(told) - told[::-1].index("*")
        told = told[:first] + ("",) * (last - first + len(columns) - len(told)) + told[last:]
    if len(told) == len(columns):
        columns = [(own or name, kind) for own, (name, kind) in zip(told, columns, strict=True)]
    if statement.asks_catalog:
        columns = [(name, catalog_type(str(kind))) for name, kind in columns]
    return columns


def _type_name(kind: Any) -> str:
    return "NULL" if str(kind) == '"NULL"' else str(kind)


def _place_of(error: Exception, sql: str, lines_before: int) -> tuple[int | None, int | None]:
    """Line and column from DuckDB's picture of the place: the line, and a caret below it.

    `lines_before` stood before the statement when it ran.
    """
    lines = str(error).split("\n")
    for number, line in enumerate(lines[:-1]):
        if line.startswith("LINE ") and ":" in line and "^" in lines[number + 1]:
            head, shown = line.split(": ", 1)
            column = lines[number + 1].index("^") - len(head) - 2
            which = int(head.removeprefix("LINE ")) - lines_before
            if not 1 <= which <= sql.count("\n") + 1:
                return None, None  # what was put around the statement failed: a cast
            if shown.startswith("..."):
                # DuckDB shows a part of a long line: find that part.
                part = shown[3:].removesuffix("...")
                at = sql.split("\n")[which - 1].find(part)
                if at < 0:
                    return which, None
                column += at - 3
            return which, max(column, 0) + 1
    return None, None


def main() -> None:
    """The process: `python -m lakehouse.query.engine.worker FD`, where FD is its end of a socket pair."""
    owner = socket.socket(fileno=int(sys.argv[1]))
    _, payload = frames.receive(owner)
    config = Config(**loads(payload))
    limit_process(config.memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner
    Worker(owner, config).run()


if __name__ == "__main__":
    main()
