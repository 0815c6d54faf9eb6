"""Ports for servers that a test starts later."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import socket
import tempfile
from contextlib import closing
from pathlib import Path
from typing import IO

FIRST, EACH_WORKER = 10_000, 2_000
TWIN = 10_000
"""SeaweedFS puts gRPC so far behind its port. Its ports, too, end below 32,768, where the kernel takes those that it
gives to whoever connects: a port from there, free when it was chosen, may be taken when its server starts."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw5").removeprefix("gw")) % 6
_start = random.randrange(EACH_WORKER)
_next = (FIRST + _worker * EACH_WORKER + (_start + number) % EACH_WORKER for number in itertools.count())


_claims: list[IO[str]] = []


def free_ports(count: int) -> list[int]:
    """Each is given once, to one worker of one of the test runs on this machine, and is free, and its twin as well."""
    free = (port for port in _next if _is_free(port) and _is_free(port + TWIN) and _claim(port))
    return list(itertools.islice(free, count))


def _claim(port: int) -> bool:
    """Keep the port from other test runs until this process ends."""
    folder = Path(tempfile.gettempdir()) / f"lakehouse-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    claim = open(folder / str(port), "w")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
