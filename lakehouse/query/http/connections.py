"""Connections of the query service: uvicorn's own, with what it leaves to a proxy that may not be there.

uvicorn 0.54 keeps a connection that never sends a head, that never reads its answer, or that sends a body that nobody
wants, for as long as the other side likes, counts none by address, and hangs up on a socket that is closed in one
direction. Neither hypercorn nor granian has deadlines for readers or limits by address. This can go when uvicorn does.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, cast

import h11
from h11._writers import ChunkedWriter
from uvicorn.protocols.http.h11_impl import H11Protocol

from lakehouse.query.engine.places import PROGRESS_BYTES, Connections

LINGER_SECONDS = 2.0
"""How long a connection is read and thrown away after an early answer: to close at once would take it back (RST)."""
PROBE_SECONDS = 0.25


def _closing(status: str, title: str) -> bytes:
    body = json.dumps({"type": "about:blank", "title": title, "status": int(status[:3])})
    head = f"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: {len(body)}"
    return f"HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}".encode()


REFUSED = _closing("503 Service Unavailable", "There are too many connections")
LATE = _closing("408 Request Timeout", "The request did not come in time")


class _Transport:
    """The real one, but that to close it is the connection's business."""

    def __init__(self, real: asyncio.Transport, connection: Connection):
        self._real = real
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def close(self) -> None:
        self._connection.end()

    def is_closing(self) -> bool:
        return self._connection.is_ending or self._real.is_closing()


class Connection(H11Protocol):
    """One connection, within the limits of `among`."""

    def __init__(self, *args: Any, among: Connections, **named: Any):
        super().__init__(*args, **named)
        self._among = among
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unsent = 0
        self._is_half_closed = False
        self._is_probed = False
        self.is_ending = False
        self.has_asked = False
        self.address = ""
        self.since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether no request is at work on it."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._real = transport
        super().connection_made(cast(asyncio.Transport, _Transport(transport, self)))
        self.address = self.client[0] if self.client else ""
        if self._among.admit(self):
            self._in("head", self._among.client_seconds, self._head_is_late)
        else:
            transport.write(REFUSED)
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._timers):
            self._stop(name)
        self.is_ending = True
        self._among.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.is_ending:
            super().data_received(data)
            self._watch_head()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer who closed only his half. Whether he did, or has left, shows only when something is sent to him."""
        if self.is_ending:
            self._real.close()
        elif self.is_idle or self.cycle.more_body:
            self.end(lingers=False)
        else:
            self._is_half_closed = True
            # Most answers are there before there is anything to find out.
            self._in("probe", 2 * PROBE_SECONDS, self._probe)
        return True

    def on_response_complete(self) -> None:
        self.has_asked, self.since = True, self.loop.time()
        super().on_response_complete()
        waits_for = self.conn.their_state
        if self.cycle.response_complete and waits_for is h11.SEND_BODY:
            self.end()  # the rest of a body that nobody reads
        elif self._is_half_closed and waits_for in (h11.IDLE, h11.SEND_BODY, h11.MUST_CLOSE):
            self.end(lingers=False)
        else:
            self._watch_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self._real.get_write_buffer_size()
        self._in("write", self._among.client_seconds, self._look_at_reader)

    def resume_writing(self) -> None:
        self._stop("write")
        super().resume_writing()

    def end(self, *, lingers: bool = True) -> None:
        """Close it once what was answered has been sent, but wait for no reader."""
        if self.is_ending:
            return
        self.is_ending = True
        self._stop("head")
        lingers = lingers and self.conn.their_state in (h11.SEND_BODY, h11.ERROR) and self._real.can_write_eof()
        if lingers:
            self.flow.resume_reading()
            self._real.write_eof()
            self._in("end", min(LINGER_SECONDS, self._among.client_seconds), self._real.abort)
        else:
            self._real.close()
            self._in("end", self._among.client_seconds, self._real.abort)

    def abort(self) -> None:
        """Close it now."""
        self._real.abort()

    def _watch_head(self) -> None:
        if self.is_ending or self.conn.their_state is not h11.IDLE:
            self._stop("head")
        elif "head" not in self._timers and self.conn.trailing_data[0]:
            self._in("head", self._among.client_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._real.write(LATE)
        self.end()

    def _look_at_reader(self) -> None:
        unsent = self._real.get_write_buffer_size()
        if self._unsent - unsent < PROGRESS_BYTES:
            self.abort()
        else:
            self._unsent = unsent
            self._in("write", self._among.client_seconds, self._look_at_reader)

    def _probe(self) -> None:
        if self.is_ending or self.is_idle:
            return
        if self._real.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
            return
        if not self._is_probed and self.scope["http_version"] == "1.1":
            self._is_probed = True
            if not self.cycle.response_started:
                self._real.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif isinstance(self.conn._writer, ChunkedWriter):
                self._real.write(b"0")  # in front of the next chunk's length
        self._in("probe", PROBE_SECONDS, self._probe)

    def _in(self, name: str, seconds: float, action: Any) -> None:
        self._stop(name)

        def act() -> None:
            self._timers.pop(name, None)
            action()

        self._timers[name] = self.loop.call_later(seconds, act)

    def _stop(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
