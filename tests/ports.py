"""Ports for servers that a test starts later."""

from __future__ import annotations

import itertools
import os
import random
import socket
from contextlib import closing

FIRST, EACH_WORKER = 10_000, 2_000
TWIN = 10_000
"""SeaweedFS puts gRPC so far behind its port. Its ports, too, end below 32,768, where the kernel takes those that it
gives to whoever connects: a port from there, free when it was chosen, may be taken when its server starts."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw5").removeprefix("gw")) % 6
_start = random.randrange(EACH_WORKER)
_next = (FIRST + _worker * EACH_WORKER + (_start + number) % EACH_WORKER for number in itertools.count())


def free_ports(count: int) -> list[int]:
    """Each is given once, to one worker, and is free, and its twin as well."""
    free = (port for port in _next if _is_free(port) and _is_free(port + TWIN))
    return list(itertools.islice(free, count))


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
