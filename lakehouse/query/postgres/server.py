"""What listens for PostgreSQL's clients: start-up, TLS, who asks, deadlines, and who may cancel what."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from anyio import to_thread

from lakehouse.query.engine.admission import Admission, CallerLeftError
from lakehouse.query.engine.places import PROGRESS_BYTES, Connections
from lakehouse.query.engine.postgres_catalog import SETTINGS
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import QueryService
from lakehouse.query.engine.tokens import TokenBook, environment_of
from lakehouse.query.postgres import messages as out
from lakehouse.query.postgres.answers import HeldAnswers
from lakehouse.query.postgres.errors import SqlError, error_message
from lakehouse.query.postgres.messages import Fields
from lakehouse.query.postgres.session import Asker, Session
from lakehouse.settings import Settings, SettingsError, is_loopback
from lakehouse.storage import StorageError

LOG = logging.getLogger("lakehouse.query.postgres")
USER = re.compile(r"([a-z][a-z0-9_]{0,39})(?:@([1-9][0-9]{0,8}))?")
REPORTED = (
    "server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "IntervalStyle", "is_superuser",
    "integer_datetimes", "standard_conforming_strings", "default_transaction_read_only", "in_hot_standby",
    "session_authorization", "application_name",
)  # fmt: skip
"""What a client is told at its start."""
LIMIT = 64 << 10
"""Bytes that wait here to be looked at."""
Door = Callable[[QueryService, Admission], AbstractAsyncContextManager[None]]


class Reader(asyncio.StreamReader):
    """Tells at once when the other side has gone, and how much has come."""

    def __init__(self) -> None:
        super().__init__(limit=LIMIT)
        self.received = 0
        self.is_gone = False
        self.on_gone: Callable[[], None] = lambda: None

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        self.received += len(data)
        super().feed_data(data)

    def feed_eof(self) -> None:
        super().feed_eof()
        self._has_gone()

    def set_exception(self, exc: Exception) -> None:  # type: ignore[override]
        super().set_exception(exc)
        self._has_gone()

    def _has_gone(self) -> None:
        self.is_gone = True
        self.on_gone()


class Listener:
    """One service's. All its connections count among the service's own."""

    def __init__(self, service: QueryService, admission: Admission, connections: Connections):
        settings = service.settings
        self.service = service
        self.settings = settings
        self.admission = admission
        self.connections = connections
        self.held = HeldAnswers(settings.query_mb << 20)
        self.tokens = TokenBook(service.storage)
        self.sessions: dict[int, tuple[bytes, Session]] = {}
        self.tls = tls_of(settings)
        is_local = is_loopback(settings.query_postgres_host)
        needed = settings.query_token_required
        self.needs_token = not is_local if needed is None else needed
        needed = settings.query_postgres_tls_required
        self.needs_tls = not is_local if needed is None else needed
        if self.needs_tls and self.tls is None:
            raise SettingsError(
                f"LAKEHOUSE_QUERY_POSTGRES_HOST is {settings.query_postgres_host}, which others reach: it needs TLS. "
                "Set LAKEHOUSE_QUERY_POSTGRES_TLS_CERTIFICATE and _KEY, or LAKEHOUSE_QUERY_POSTGRES_PORT to 0."
            )

    def cancel(self, number: int, key: bytes) -> None:
        """Stop a session's statement, if the key is its own."""
        own, session = self.sessions.get(number, (b"", None))
        if session and hmac.compare_digest(own, key):
            session.cancel()


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """Its certificate, ready to be shown. Raises SettingsError when it can't be read."""
    if not settings.query_postgres_tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.query_postgres_tls_certificate, settings.query_postgres_tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"LAKEHOUSE_QUERY_POSTGRES_TLS_CERTIFICATE or _KEY can't be read: {error}.") from None
    return context


def door(settings: Settings, connections: Connections) -> Door:
    """What listens beside HTTP, on LAKEHOUSE_QUERY_POSTGRES_HOST and _PORT."""

    @asynccontextmanager
    async def listening(service: QueryService, admission: Admission) -> AsyncIterator[None]:
        listener = Listener(service, admission, connections)
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        def made() -> asyncio.StreamReaderProtocol:
            reader = Reader()

            def begin(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = loop.create_task(Connection(listener, reader, writer).run())
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            return asyncio.StreamReaderProtocol(reader, begin, loop=loop)

        host, port = settings.query_postgres_host, settings.query_postgres_port
        try:
            server = await loop.create_server(made, host, port)
        except OSError as error:
            raise SettingsError(
                f"PostgreSQL's clients can't be listened for on {host}:{port}: {error.strerror}. "
                "LAKEHOUSE_QUERY_POSTGRES_PORT names another port, or 0 for none."
            ) from None
        try:
            yield
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=5)

    return listening


class Connection:
    """One client's, from its first byte to its last."""

    def __init__(self, listener: Listener, reader: Reader, writer: asyncio.StreamWriter):
        self._listener = listener
        self._settings = listener.settings
        self._reader = reader
        self._writer = writer
        self._is_waiting = True
        self._session: Session | None = None
        self._token = ""
        self._has_tls = False
        self.is_ending = False
        self.has_asked = False
        self.address = str((writer.get_extra_info("peername") or ("",))[0])
        self.since = asyncio.get_running_loop().time()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for its client."""
        return self._is_waiting

    def abort(self) -> None:
        """Close it now."""
        self._writer.transport.abort()

    async def run(self) -> None:
        """Until one side ends it."""
        connections = self._listener.connections
        if not connections.admit(self):
            self._is_waiting = False
            await self._last(SqlError("53300", "There are too many connections."))
            return
        number = 0
        try:
            number = await self._start()
            if number:
                await self._answer()
        except (QueryError, SqlError) as error:
            LOG.info("%s", error.kind if isinstance(error, QueryError) else error.code)
            await self._last(error)
        except TimeoutError:
            await self._last(SqlError("57P05", "The client kept silent for too long."))
        except (asyncio.IncompleteReadError, ConnectionError, CallerLeftError, ssl.SSLError):
            pass
        except Exception:
            LOG.exception("a connection of PostgreSQL's protocol failed")
            await self._last(SqlError("XX000", "This can't be answered."))
        finally:
            self.is_ending = True
            self._listener.sessions.pop(number, None)
            connections.forget(self)
            self._writer.transport.abort() if self._reader.is_gone else self._writer.close()
            asyncio.get_running_loop().call_later(self._settings.query_client_seconds, self._writer.transport.abort)
            if self._session:
                self._session.stop()
                await self._session.close()

    async def _last(self, error: QueryError | SqlError) -> None:
        with suppress(ConnectionError, TimeoutError):
            await self._send(error_message(error, is_fatal=True))
        self._writer.close()

    async def _send(self, content: bytes) -> None:
        """Raises ConnectionError when the client doesn't read."""
        self._writer.write(content)
        transport = self._writer.transport
        while True:
            unsent = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._settings.query_client_seconds):
                    await self._writer.drain()
                return
            except TimeoutError:
                if unsent - transport.get_write_buffer_size() < PROGRESS_BYTES:
                    transport.abort()
                    raise ConnectionAbortedError("the client doesn't read") from None

    # ------------------------------------------------------------------------------------------- start

    async def _start(self) -> int:
        """The session's number; 0 when there is nothing more to say."""
        async with asyncio.timeout(self._settings.query_client_seconds):
            return await self._started()

    async def _started(self) -> int:
        while True:
            size = int.from_bytes(await self._reader.readexactly(4))
            if not 8 <= size <= out.LARGEST_START:
                raise SqlError("08P01", "This is no start of PostgreSQL's protocol.")
            content = await self._reader.readexactly(size - 4)
            code = int.from_bytes(content[:4])
            if code == out.TLS_REQUEST and not self._has_tls:
                await self._offer_tls()
            elif code == out.GSS_REQUEST:
                await self._send(b"N")
            elif code == out.CANCEL_REQUEST and size >= 16:
                self._listener.cancel(int.from_bytes(content[4:8]), content[8:])
                return 0
            elif code >> 16 == out.PROTOCOL >> 16:
                return await self._let_in(code, out.start_parameters(content[4:]))
            else:
                raise SqlError("08P01", "Only version 3 of PostgreSQL's protocol is spoken here.")

    async def _offer_tls(self) -> None:
        if self._listener.tls is None:
            await self._send(b"N")
            return
        if self._reader.received != 8:
            # What came before the answer was not encrypted: it may be somebody else's.
            raise SqlError("08P01", "There is more behind the request for TLS than there may be.")
        await self._send(b"S")
        await self._writer.start_tls(self._listener.tls)
        self._has_tls = True

    async def _let_in(self, version: int, told: dict[str, str]) -> int:
        if self._listener.needs_tls and not self._has_tls:
            raise SqlError("28000", "TLS is needed here: sslmode=require.")
        if told.get("replication", "false").lower() not in ("false", "off", "no", "0"):
            raise SqlError("0A000", "There is no replication here.")
        unknown = [name for name in told if name.startswith("_pq_.")]
        if version != out.PROTOCOL or unknown:
            parts = [out.PROTOCOL.to_bytes(4), len(unknown).to_bytes(4), *map(out.text, unknown)]
            await self._send(out.message(b"v", *parts))
        found = USER.fullmatch(told.get("user", ""))
        if not found:
            raise SqlError("28000", "The user is an environment, as prod, or one of its releases, as prod@41.")
        if self._listener.needs_token:
            self._token = await self._password()
        environment, release = found[1], int(found[2]) if found[2] else None
        self._environment = environment
        await self._asker()
        service = self._listener.service
        await to_thread.run_sync(service.releases.find, environment, release)
        session = Session(
            service, self._listener.admission, environment, release, self._asker, self._send,
            lambda: self._reader.is_gone, self._listener.held,
        )  # fmt: skip
        for name, value in {**_options(told.pop("options", "")), **told}.items():
            if name not in ("user", "database", "replication") and not name.startswith("_pq_."):
                session.apply(name, value)
        self._session = session
        self._reader.on_gone = session.stop
        key = secrets.token_bytes(4)
        number = 1 + secrets.randbelow((1 << 31) - 1)
        self._listener.sessions[number] = key, session
        known = {**SETTINGS, "application_name": told.get("application_name", "")[:64]}
        statuses = b"".join(out.parameter(name, known[name.lower()]) for name in REPORTED)
        keys = out.message(b"K", number.to_bytes(4), key)
        await self._send(out.AUTHENTICATED + statuses + keys + out.ready("I"))
        return number

    async def _password(self) -> str:
        await self._send(out.PASSWORD_WANTED)
        kind, size = await self._reader.readexactly(1), int.from_bytes(await self._reader.readexactly(4))
        if kind != b"p" or not 5 <= size <= 1_000:
            raise SqlError("08P01", "A token is wanted as password.")
        return Fields(await self._reader.readexactly(size - 4)).text()

    async def _asker(self) -> Asker:
        """Who asks: looked at for each statement, for a token may be revoked meanwhile."""
        limits = self._listener.service.limits
        if not self._listener.needs_token:
            return Asker("", limits)
        try:
            grant = await to_thread.run_sync(self._listener.tokens.find, self._token)
        except StorageError:
            raise QueryError("unavailable", "Tokens can't be checked now.") from None
        if grant is None:
            raise QueryError("unauthorized", "This token is unknown, revoked or expired.")
        environment_of(grant.environments, self._environment, self._environment)
        return Asker(grant.name, grant.limits(limits))

    # ------------------------------------------------------------------------------------------- answers

    async def _answer(self) -> None:
        assert self._session
        read = self._reader.readexactly
        loop = asyncio.get_running_loop()
        while True:
            self.since, self._is_waiting = loop.time(), True
            async with asyncio.timeout(self._settings.query_postgres_idle_seconds):
                kind = await read(1)
            self._is_waiting = False
            async with asyncio.timeout(self._settings.query_client_seconds):
                size = int.from_bytes(await read(4))
                if not 4 <= size <= out.LARGEST:
                    raise SqlError("54000", f"A message may have {out.LARGEST:,} bytes.")
                content = await read(size - 4)
            if kind == b"X":
                return
            self.has_asked = True
            await self._session.handle(kind, content)


def _options(text: str) -> dict[str, str]:
    """`-c name=value` and `--name=value` of a connection's options."""
    found = re.findall(r"(?:-c\s*|--)([A-Za-z_.]{1,64})=((?:\\.|\S)*)", text[:2_000])
    return {name.replace("-", "_"): re.sub(r"\\(.)", r"\1", value) for name, value in found}
