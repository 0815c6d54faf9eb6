"""How a worker and its owner speak: frames over a socket pair, a kind of one byte and a length before each."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any, Literal

Kind = Literal[b"Q", b"H", b"D", b"F", b"E", b"C", b"R"]
"""Query, Header, Data, Footer, Error, Cancel; Ready: the process for calls, then for each call its release."""
HEAD = struct.Struct(">cQ")
LARGEST = 1 << 31


class StalledError(Exception):
    """The socket's timeout passed in the middle of a frame: what follows can't be read any more."""


def send(to: socket.socket, kind: Kind, *parts: bytes | memoryview) -> None:
    """Send one frame; its payload may come in parts, which are not copied together."""
    size = sum(len(part) for part in parts)
    _send_all(to, [HEAD.pack(kind, size), *parts])


def send_json(to: socket.socket, kind: Kind, content: Any) -> None:
    """Send one frame of JSON."""
    send(to, kind, json.dumps(content).encode())


def _send_all(to: socket.socket, parts: Sequence[bytes | memoryview]) -> None:
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    while views:
        sent = to.sendmsg(views[:64])
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]


def receive(source: socket.socket) -> tuple[Kind, bytearray]:
    """The next frame.

    Raises:
        EOFError: the other side is gone.
        TimeoutError: the socket's timeout has passed before a frame began.
        StalledError: it has passed inside of one.
    """
    kind, size = HEAD.unpack(_exactly(source, HEAD.size, begun=False))
    if size > LARGEST:
        raise EOFError(f"a frame of {size} bytes")
    return kind, _exactly(source, size, begun=True)


def _exactly(source: socket.socket, size: int, *, begun: bool) -> bytearray:
    found = bytearray(size)
    view = memoryview(found)
    while view:
        try:
            count = source.recv_into(view)
        except TimeoutError:
            if begun or len(view) < size:
                raise StalledError from None
            raise
        if not count:
            raise EOFError("the other side has gone")
        view = view[count:]
    return found
