"""One client's session: statements, portals and transactions, which are no more than one release for a while."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from anyio import to_thread

from lakehouse.query.engine.admission import Admission, CallerLeftError
from lakehouse.query.engine.literals import Literal
from lakehouse.query.engine.postgres_catalog import SETTINGS
from lakehouse.query.engine.postgres_rows import DESCRIBED, PgRows
from lakehouse.query.engine.postgres_types import TEXT, oid_of
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import QueryService, Question, Reply
from lakehouse.query.engine.tokens import Limits
from lakehouse.query.postgres import messages as out
from lakehouse.query.postgres.answers import HeldAnswers, Rows, described
from lakehouse.query.postgres.errors import SqlError, error_message
from lakehouse.query.postgres.messages import Bind, Fields, Parse
from lakehouse.query.postgres.statements import Command, command, split
from lakehouse.query.postgres.values import bound

KEPT_BYTES = 1 << 20
KEPT = 500
"""Statements and portals of one session."""
OPEN_PORTALS = 4
"""Answers that one session has begun and not read to their end."""
UNITS = {"": 0.001, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
TEXT_ROWS = PgRows()


@dataclass
class Prepared:
    """A statement that was parsed. `types` are OIDs, 0 for what nobody said."""

    command: Command | None
    """None when it is empty."""
    types: list[int]
    columns: list[tuple[str, str]] | None = None


@dataclass
class Portal:
    """A statement with its values, and its answer once it was begun."""

    command: Command | None
    literals: list[Literal] = field(default_factory=list)
    form: PgRows = TEXT_ROWS
    rows: Rows | None = None
    is_held: bool = False
    is_done: bool = False
    expiry: asyncio.TimerHandle | None = None


@dataclass(frozen=True)
class Asker:
    """Who asks, as far as is known when a statement comes."""

    name: str
    limits: Limits


class Session:
    """Answers the messages of a client that is let in, through `send`."""

    def __init__(
        self, service: QueryService, admission: Admission, environment: str, release: int | None,
        asker: Callable[[], Awaitable[Asker]], send: Callable[[bytes], Awaitable[None]],
        is_gone: Callable[[], bool], held: HeldAnswers,
    ):  # fmt: skip
        self._service = service
        self._admission = admission
        self._environment = environment
        self._release = release
        self._asker = asker
        self._send = send
        self._is_gone = is_gone
        self._held = held
        self._pinned: int | None = None
        self._status = "I"
        self._is_skipping = False
        self._statements: dict[str, Prepared] = {}
        self._portals: dict[str, Portal] = {}
        self._settings = dict(SETTINGS)
        self._kept_bytes = 0
        self._stopping = asyncio.Event()
        self._is_cancelled = False
        self._running: Rows | None = None

    # ------------------------------------------------------------------------------------------- stopping

    def cancel(self) -> None:
        """Stop the statement that is at work."""
        self._is_cancelled = True
        self.stop()

    def stop(self) -> None:
        """Nobody waits any more."""
        self._stopping.set()
        if self._running:
            self._running.cancel()

    async def close(self) -> None:
        """End all that it has open."""
        self._held.put(self, 0)
        for name in list(self._portals):
            await self._close_portal(name)

    async def _gone(self) -> None:
        await self._stopping.wait()

    # ------------------------------------------------------------------------------------------- messages

    async def handle(self, kind: bytes, content: bytes) -> None:
        """Answer one message."""
        if not self._is_gone():
            self._stopping.clear()
        self._is_cancelled = False
        if kind == b"S":
            await self._sync()
        elif kind == b"Q":
            self._is_skipping = False
            await self._simple(content)
        elif kind in b"dcf":
            pass  # of a COPY that was refused
        elif kind in _HANDLERS:
            if not self._is_skipping:
                await self._extended(kind, content)
        else:
            raise SqlError("08P01", f"The message {kind!r} is not known here.", is_fatal=True)
        if not self._held.put(self, sum(one.rows.size_bytes for one in self._portals.values() if one.rows)):
            for portal in self._portals.values():
                if portal.rows:
                    portal.rows.stopped = "Too many answers are open and not read: this one was given up."
                    await portal.rows.close()

    async def _sync(self) -> None:
        self._is_skipping = False
        if self._status == "I":
            await self._close_portals()
        await self._send(out.ready(self._status))

    async def _simple(self, content: bytes) -> None:
        sql = ""
        try:
            fields = Fields(content)
            text = fields.text()
            fields.end()
            statements = split(text)
            if not statements:
                await self._send(out.EMPTY)
            if len(statements) > 1 and self._status == "I":
                await self._pin()
            for sql in statements:
                told = command(sql)
                self._check_status(told)
                portal = Portal(told)
                try:
                    await self._run(portal, told, tells_columns=True)
                finally:
                    await self._end(portal)
        except (QueryError, SqlError) as error:
            await self._failed(error, sql)
        if self._status == "I":
            self._pinned = None
            await self._close_portals()
        await self._send(out.ready(self._status))

    async def _extended(self, kind: bytes, content: bytes) -> None:
        handler = _HANDLERS[kind]
        try:
            await handler(self, content)
        except (QueryError, SqlError) as error:
            self._is_skipping = True
            await self._failed(error)

    async def _failed(self, error: QueryError | SqlError, sql: str = "") -> None:
        if self._is_gone():
            raise CallerLeftError
        if isinstance(error, QueryError) and error.kind in ("unauthorized", "forbidden"):
            raise error
        if isinstance(error, SqlError) and error.is_fatal:
            raise error
        if self._status == "T":
            self._status = "E"
        await self._send(error_message(error, sql))

    async def _parse(self, content: bytes) -> None:
        told = Parse.of(content)
        statements = split(told.sql)
        if len(statements) > 1:
            raise SqlError("42601", "A prepared statement is one statement.")
        if told.name in self._statements:
            if told.name:
                raise SqlError("42P05", f"There is a prepared statement {told.name} already.")
            self._forget("")
        self._remember(len(told.sql), self._statements)
        made = command(statements[0]) if statements else None
        self._statements[told.name] = Prepared(made, list(told.types))
        await self._send(out.PARSED)

    def _remember(self, size: int, among: dict[str, Prepared] | dict[str, Portal]) -> None:
        if len(among) >= KEPT or self._kept_bytes + size > KEPT_BYTES:
            raise SqlError("53400", "This connection keeps too many statements: DEALLOCATE some.")
        self._kept_bytes += size

    def _forget(self, name: str) -> None:
        found = self._statements.pop(name, None)
        if found and found.command:
            self._kept_bytes = max(0, self._kept_bytes - len(found.command.sql))

    async def _bind(self, content: bytes) -> None:
        told = Bind.of(content)
        statement = self._statement(told.statement)
        if told.portal and told.portal in self._portals:
            raise SqlError("42P03", f"There is a cursor {told.portal} already.")
        if len(self._portals) >= KEPT:
            raise SqlError("53400", "This connection keeps too many cursors: close some.")
        await self._close_portal(told.portal)
        literals = []
        for number, value in enumerate(told.values):
            oid = statement.types[number] if number < len(statement.types) else 0
            if value is not None and told.is_binary(number) and not oid:
                raise SqlError("42P18", f"The type of ${number + 1} is not known: name it with a cast.")
            literals.append(bound(oid, value, binary=told.is_binary(number)))
        form = PgRows(formats="".join(map(str, told.result_formats)))
        self._portals[told.portal] = Portal(statement.command, literals, form)
        await self._send(out.BOUND)

    def _statement(self, name: str) -> Prepared:
        if name not in self._statements:
            raise SqlError("26000", f"There is no prepared statement {name or 'without a name'}.")
        return self._statements[name]

    def _portal(self, name: str) -> Portal:
        if name not in self._portals:
            raise SqlError("34000", f"There is no cursor {name or 'without a name'} (any more).")
        return self._portals[name]

    async def _describe(self, content: bytes) -> None:
        fields = Fields(content)
        kind, name = fields.take(1), fields.text()
        fields.end()
        if kind == b"S":
            statement = self._statement(name)
            await self._describe_statement(statement)
            columns = self._columns(statement.command, statement.columns)
            await self._send(out.parameters_message(statement.types) + columns)
        elif kind == b"P":
            portal = self._portal(name)
            if portal.command and portal.command.kind == "ask" and not portal.is_done:
                self._check_status(portal.command)
                await self._send((await self._begun(portal)).header)
            else:
                await self._send(self._columns(portal.command, None))
        else:
            raise QueryError("invalid-request", out.BROKEN)

    def _columns(self, told: Command | None, columns: list[tuple[str, str]] | None) -> bytes:
        if told and told.kind == "ask" and columns is not None:
            return described(columns, TEXT_ROWS)
        if told and told.kind == "show":
            return described([(told.name, "VARCHAR")], TEXT_ROWS)
        if told and told.kind == "fetch":
            rows = self._portal(told.name).rows
            return rows.header if rows else out.NO_DATA
        return out.NO_DATA

    async def _describe_statement(self, statement: Prepared) -> None:
        told = statement.command
        if told is None or told.kind != "ask" or statement.columns is not None:
            return
        self._check_status(told)
        literals = [bound(oid, None, binary=False) for oid in statement.types]
        reply, _ = await self._asked(told.sql, literals, DESCRIBED)
        known = statement.types + [0] * (len(reply.parameters) - len(statement.types))
        named = [*reply.parameters, *[""] * len(known)]
        found = [oid or (oid_of(named[number]) if named[number] else 0) for number, oid in enumerate(known)]
        if found != statement.types:
            # What was found out may say more of the columns.
            literals = [bound(oid, None, binary=False) for oid in found]
            reply, _ = await self._asked(told.sql, literals, DESCRIBED)
        statement.types = [oid or TEXT.oid for oid in found]
        statement.columns = reply.columns

    async def _execute(self, content: bytes) -> None:
        fields = Fields(content)
        portal, most = self._portal(fields.text()), fields.number(4)
        fields.end()
        if portal.command is None:
            await self._send(out.EMPTY)
            return
        self._check_status(portal.command)
        await self._run(portal, portal.command, most=max(0, most))

    async def _close_message(self, content: bytes) -> None:
        fields = Fields(content)
        kind, name = fields.take(1), fields.text()
        fields.end()
        if kind == b"S":
            self._forget(name)
        else:
            await self._close_portal(name)
        await self._send(out.CLOSED)

    async def _flush(self, content: bytes) -> None:
        return  # everything is sent at once

    # ------------------------------------------------------------------------------------------- statements

    def _check_status(self, told: Command) -> None:
        if self._status == "E" and told.kind not in ("commit", "rollback", "rollback to"):
            raise SqlError("25P02", "The transaction has failed: ROLLBACK ends it.")

    async def _run(self, portal: Portal, told: Command, *, most: int = 0, tells_columns: bool = False) -> None:
        if told.kind == "ask":
            await self._give(portal, most, "SELECT", tells_columns=tells_columns)
        elif told.kind == "copy":
            await self._copy(portal, told)
        elif told.kind in ("fetch", "move"):
            await self._fetch(told, tells_columns=tells_columns)
        elif told.kind == "show":
            await self._show(told, tells_columns=tells_columns)
        elif told.kind == "declare":
            await self._declare(portal, told)
        else:
            await self._do(told)

    async def _do(self, told: Command) -> None:
        """What gives no rows."""
        tag = told.kind.upper()
        match told.kind:
            case "noop":
                tag = told.name
            case "begin":
                if self._status == "I":
                    await self._pin()
                    self._status = "T"
            case "commit" | "rollback":
                tag = "ROLLBACK" if self._status == "E" else tag
                self._status, self._pinned = "I", None
                await self._close_portals()
            case "rollback to":
                tag, self._status = "ROLLBACK", "T" if self._status in "TE" else "I"
            case "set":
                self._set(told.name, told.value)
            case "discard":
                self._statements.clear()
                self._kept_bytes = 0
                await self.close()
                tag = "DISCARD ALL"
            case "deallocate":
                for name in [told.name] if told.name else list(self._statements):
                    self._forget(name)
            case "close":
                for name in [told.name] if told.name else list(self._portals):
                    await self._close_portal(name)
                tag = "CLOSE CURSOR"
        await self._send(out.complete(tag))

    async def _pin(self) -> None:
        """One release until it is let go of."""
        if self._release is None:
            source = await to_thread.run_sync(self._service.releases.find, self._environment)
            self._pinned = source.manifest.number

    def _set(self, name: str, value: str) -> None:
        wanted = {
            "client_encoding": r"utf-?8|unicode|sql_ascii|default", "datestyle": r"iso\b.*|default",
            "standard_conforming_strings": r"on|true|1|yes|default", "intervalstyle": r"postgres|default",
        }  # fmt: skip
        if name in wanted and not re.fullmatch(wanted[name], value, re.IGNORECASE):
            raise SqlError("0A000", f"{name} can't be {value} here.")
        if name == "statement_timeout":
            _seconds(value)
        if name not in ("client_encoding", "datestyle", "timezone", "server_version"):
            self._settings[name] = value
        if len(self._settings) > KEPT or len(value) > 1_000:
            raise SqlError("53400", "This connection keeps too many settings.")

    def apply(self, name: str, value: str) -> None:
        """A setting of the client's start."""
        self._set(name.lower(), value.strip("'"))

    async def _show(self, told: Command, *, tells_columns: bool) -> None:
        if told.name == "all":
            rows: list[tuple[str, ...]] = [(name, value, "") for name, value in sorted(self._settings.items())]
            head = described([("name", "VARCHAR"), ("setting", "VARCHAR"), ("description", "VARCHAR")], TEXT_ROWS)
        elif told.name in self._settings:
            rows = [(self._settings[told.name],)]
            head = described([(told.name, "VARCHAR")], TEXT_ROWS)
        else:
            raise SqlError("42704", f"There is no setting {told.name[:100]}.")
        await self._send(
            (head if tells_columns else b"") + b"".join(out.row(row) for row in rows) + out.complete("SHOW")
        )

    async def _give(self, portal: Portal, most: int, tag: str, *, tells_columns: bool = False) -> None:
        """The next rows of a portal."""
        if portal.is_done:
            await self._send(out.complete(f"{tag} 0"))
            return
        rows = await self._begun(portal)
        if tells_columns:
            await self._send(rows.header)
        count = await self._send_rows(portal, rows, most)
        if count is None:
            await self._send(out.SUSPENDED)
        else:
            await self._send(out.complete(f"{tag} {count}"))

    async def _send_rows(self, portal: Portal, rows: Rows, most: int) -> int | None:
        """How many there were up to the end; None when it was not reached: `most` were sent."""
        sent = 0
        self._running = rows
        try:
            while True:
                piece, count = await rows.next(most - sent if most else 0)
                if not piece:
                    await self._end(portal)
                    return sent + (count if not most else 0)
                sent += count
                await self._send(piece)
                if most and sent >= most:
                    self._expire_later(portal)
                    return None
        except QueryError as error:
            await self._end(portal)
            if self._is_cancelled:
                raise SqlError("57014", "The statement was cancelled by its caller.") from error
            raise
        finally:
            self._running = None

    async def _begun(self, portal: Portal) -> Rows:
        """Its answer, asked for if it was not yet."""
        if portal.rows is None:
            assert portal.command is not None
            if sum(1 for one in self._portals.values() if one.rows is not None) >= OPEN_PORTALS:
                raise SqlError("53400", f"This connection has {OPEN_PORTALS} cursors open: read or close one.")
            reply, rows = await self._asked(portal.command.sql, portal.literals, portal.form.name, portal.form)
            portal.rows = rows
            if reply.translated:
                told = "DuckDB did not understand this as it stands: it was translated from PostgreSQL's dialect."
                await self._send(out.notice(b"N", {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": told}))
            self._expire_later(portal)
        return portal.rows

    def _expire_later(self, portal: Portal) -> None:
        """A worker waits for nobody longer than a statement may run."""
        if portal.expiry is None and portal.rows is not None and portal.rows.is_held:
            seconds = self._service.settings.query_seconds

            def expire() -> None:
                if portal.rows is not None and portal.rows is not self._running:
                    portal.rows.stopped = f"The cursor was not read to its end within {seconds:g} seconds."
                    self._ending = asyncio.ensure_future(portal.rows.close())

            portal.expiry = asyncio.get_running_loop().call_later(seconds, expire)

    async def _asked(
        self, sql: str, literals: list[Literal], named: str, form: PgRows = TEXT_ROWS
    ) -> tuple[Reply, Rows]:  # fmt: skip
        """Ask the engine, as every other way in does."""
        asker = await self._asker()
        limits = asker.limits
        if timeout := _seconds(self._settings["statement_timeout"]):
            limits = replace(limits, seconds=min(limits.seconds, timeout))
        question = Question(
            sql, self._environment, self._release or self._pinned, named, limits.rows, dialect="postgres",
            schema=_first_schema(self._settings["search_path"]),
            literals=literals or None if named != DESCRIBED else literals, way="postgres",
        )  # fmt: skip
        gave = partial(self._admission.gave, question)
        releases = self._service.releases
        source = releases.fresh(question.environment, question.release)
        if source is None:
            source = await to_thread.run_sync(releases.find, question.environment, question.release)
        known = self._service.known(question, limits, source)
        if known:
            self._admission.told(question, "cached", 0.0)
            return known, Rows(known, None, form, gave)
        try:
            turn = await self._admission.ask(question, asker.name, limits, self._gone())
        except CallerLeftError:
            if self._is_cancelled and not self._is_gone():
                raise SqlError("57014", "The statement was cancelled by its caller.") from None
            raise
        return turn.reply, Rows(turn.reply, turn, form, gave)

    async def _copy(self, portal: Portal, told: Command) -> None:
        options = told.options
        kind = options["format"]
        form = PgRows(
            copy=kind, delimiter=options.get("delimiter", "," if kind == "csv" else "\t"),
            null=options.get("null", "" if kind == "csv" else "\\N"),
            header=kind != "binary" and options.get("header", "false").lower() in ("true", "on", "1"),
        )  # fmt: skip
        portal.form = form
        rows = await self._begun(portal)
        await self._send(out.copy_out(len(rows.reply.columns), binary=kind == "binary"))
        count = await self._send_rows(portal, rows, 0)
        await self._send(out.COPIED + out.complete(f"COPY {count}"))

    async def _declare(self, portal: Portal, told: Command) -> None:
        is_held = bool(told.options["held"])
        if self._status == "I" and not is_held:
            raise SqlError("25P01", "A cursor lives in a transaction: BEGIN first, or declare it WITH HOLD.")
        if told.name in self._portals:
            raise SqlError("42P03", f"There is a cursor {told.name} already.")
        form = PgRows(formats="1" if told.options["binary"] else "")
        made = Portal(Command("ask", told.sql), portal.literals, form, is_held=is_held)
        await self._begun(made)
        self._portals[told.name] = made
        await self._send(out.complete("DECLARE CURSOR"))

    async def _fetch(self, told: Command, *, tells_columns: bool) -> None:
        portal = self._portal(told.name)
        head = portal.rows.header if portal.rows and told.kind == "fetch" else b""
        if tells_columns:
            await self._send(head)
        sent = 0
        send, tag = self._send, told.kind.upper()
        if portal.rows and not portal.is_done and told.count:
            rows, self._running = portal.rows, portal.rows
            try:
                while told.count < 0 or sent < told.count:
                    piece, count = await rows.next(1 << 30 if told.count < 0 else told.count - sent)
                    if not piece:
                        break
                    sent += count
                    if told.kind == "fetch":
                        await send(piece)
            except QueryError as error:
                if self._is_cancelled:
                    raise SqlError("57014", "The statement was cancelled by its caller.") from error
                raise
            finally:
                self._running = None
        await self._send(out.complete(f"{tag} {sent}"))

    # ------------------------------------------------------------------------------------------- portals

    async def _end(self, portal: Portal) -> None:
        rows, portal.rows, portal.is_done = portal.rows, None, True
        if portal.expiry:
            portal.expiry.cancel()
        if rows:
            await rows.close()

    async def _close_portal(self, name: str) -> None:
        if portal := self._portals.pop(name, None):
            await self._end(portal)

    async def _close_portals(self) -> None:
        for name, portal in list(self._portals.items()):
            if not portal.is_held:
                await self._close_portal(name)


def _first_schema(path: str) -> str:
    """Of a search_path, without those in which a release has no tables."""
    names = (name.strip().strip("\"'") for name in path.split(","))
    return next((name for name in names if name not in ("", "$user", "public", "pg_catalog")), "")


def _seconds(text: str) -> float:
    """Of a statement_timeout; 0 for none."""
    found = re.fullmatch(r"(\d{1,12})\s*(ms|s|min|h|)", text.strip())
    if not found:
        raise SqlError("22023", f"{text[:100]} is no time for statement_timeout.")
    return int(found[1]) * UNITS[found[2]]


_HANDLERS: dict[bytes, Callable[[Session, bytes], Awaitable[None]]] = {
    b"P": Session._parse,
    b"B": Session._bind,
    b"D": Session._describe,
    b"E": Session._execute,
    b"C": Session._close_message,
    b"H": Session._flush,
}
