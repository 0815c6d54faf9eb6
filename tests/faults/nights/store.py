"""A real object store behind a proxy that can be told to fail, for lakes that lie on S3."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.proxy import Proxy
from tests.object_store import ObjectStore, serve


@dataclass
class Store:
    """Both."""

    server: ObjectStore
    proxy: Proxy

    def kill(self) -> None:
        """SIGKILL, by whichever process."""
        if self.server.process:
            os.kill(self.server.process.pid, signal.SIGKILL)

    def mend(self) -> None:
        """All is well again. For the process that has started it."""
        self.proxy.mode = "pass"
        if self.server.process and self.server.process.poll() is not None:
            self.server.start()


@contextlib.contextmanager
def served() -> Iterator[Store]:
    """Its proxy is a process of its own: those that fork may have no threads."""
    with serve() as server:
        proxy = Proxy(server.port, server.client)
        pid = os.fork()
        if not pid:
            proxy.serve()
        try:
            yield Store(server, proxy)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
