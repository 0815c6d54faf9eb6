"""Between the lake and its object store: passes everything on, or late, or answers errors, or cuts what comes, or loses
what it has confirmed."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import random
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, get_args
from urllib.parse import unquote

REFUSAL = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
Mode = Literal["pass", "errors", "cut", "some errors", "slow", "answers lost", "writes lost"]
MODES: tuple[Mode, ...] = get_args(Mode)
SLOW_SECONDS = 1.5
WRITE = re.compile(rb"(PUT|POST) /([^/ ]+)/([^ ?]+\.parquet)(\S*) HTTP/1\.1\r\n")
"""Bucket, key and query of what may write a file of the lake or of a release."""
ANSWERS = {b"PUT": "", b"COPY": "CopyObjectResult", b"POST": "CompleteMultipartUploadResult"}


class Proxy:
    """Listens on a port of its own."""

    def __init__(self, target: int, client: Callable[[], Any] | None = None) -> None:
        """`client` makes a boto3 client of the store: with it every second lost write leaves its first half there."""
        self.target = target
        self.client = client
        self._shared = mmap.mmap(-1, 2)  # with those that are forked from here on
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    @property
    def mode(self) -> Mode:
        """What it does."""
        return MODES[self._shared[0]]

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._shared[0] = MODES.index(mode)

    @property
    def has_lost(self) -> bool:
        """Whether it has lost a write since this was set to False."""
        return bool(self._shared[1])

    @has_lost.setter
    def has_lost(self, value: bool) -> None:
        self._shared[1] = value

    def start(self) -> Proxy:
        """Serve, in threads of this process."""
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def close(self) -> None:
        """Accept no more."""
        self.listener.close()

    def serve(self) -> None:
        """Until it is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self.mode == "errors" or (self.mode == "some errors" and random.random() < 0.5):
                client.recv(65536)
                client.sendall(REFUSAL)
                return
            if self.mode == "cut":
                return
            with socket.create_connection(("127.0.0.1", self.target)) as server:
                back = threading.Thread(target=self._pump, args=(server, client, True), daemon=True)
                back.start()
                self._pump(client, server)
                back.join()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool = False) -> None:
        """Until one side ends, or the connection is cut in the middle."""
        with contextlib.suppress(OSError):
            while self.mode not in ("errors", "cut") and (content := source.recv(65536)):
                if self.mode == "slow" and not is_answer:
                    time.sleep(SLOW_SECONDS)
                if self.mode == "answers lost" and is_answer:
                    break  # what was asked for is done, and nobody is told
                if self.mode == "writes lost" and not is_answer and self._lose(source, content):
                    continue
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _lose(self, client: socket.socket, content: bytes) -> bool:
        """Confirm what makes a Parquet file, and keep nothing or a part of it; False for any other request."""
        asked = WRITE.match(content)
        if asked is None or (asked[4].startswith(b"?") and (asked[1] == b"PUT" or b"uploadId=" not in asked[4])):
            return False  # a part, or the beginning of an upload in parts
        while b"\r\n\r\n" not in content:
            content += client.recv(65536)
        head, body = content.split(b"\r\n\r\n", 1)
        lines = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
        headers = {name: value.strip() for name, _, value in lines}
        if b"expect" in headers:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < int(headers.get(b"content-length", 0)) and (more := client.recv(65536)):
            body += more
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        root = ANSWERS[b"COPY" if b"x-amz-copy-source" in headers else asked[1]]
        answer = f'<{root}><ETag>"{etag}"</ETag></{root}>'.encode() if root else b""
        if self.client and not root and random.random() < 0.5:
            bucket, key = asked[2].decode(), unquote(asked[3].decode())
            self.client().put_object(Bucket=bucket, Key=key, Body=body[: len(body) // 2])
        self.has_lost = True
        told = f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Length: {len(answer)}\r\n\r\n'
        client.sendall(told.encode() + answer)
        return True
