"""Between the lake and its object store: passes everything on, or late, or answers errors, or cuts what comes."""

from __future__ import annotations

import contextlib
import mmap
import random
import socket
import threading
import time
from typing import Literal, get_args

REFUSAL = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
Mode = Literal["pass", "errors", "cut", "some errors", "slow", "answers lost"]
MODES: tuple[Mode, ...] = get_args(Mode)
SLOW_SECONDS = 1.5


class Proxy:
    """Listens on a port of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._shared = mmap.mmap(-1, 1)  # with those that are forked from here on
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    @property
    def mode(self) -> Mode:
        """What it does."""
        return MODES[self._shared[0]]

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._shared[0] = MODES.index(mode)

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
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
