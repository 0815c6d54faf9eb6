"""How many connections a service has, whatever they speak: in all, and from one address."""

from __future__ import annotations

import resource
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Protocol

PROGRESS_BYTES = 64 << 10
"""A reader who takes less than this within the deadline doesn't read."""
DESCRIPTORS_KEPT = 128
"""For everything but connections; each worker takes two more."""


class Taken(Protocol):
    """A connection."""

    address: str
    has_asked: bool
    is_ending: bool
    since: float
    """When it last did something, on the loop's clock."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is at work on it."""
        ...

    def abort(self) -> None:
        """Close it now."""
        ...


def connections_within_limits(wanted: int, workers: int) -> int:
    """How many connections the process may have, with its limit of descriptors raised where that is allowed."""
    kept = DESCRIPTORS_KEPT + 2 * workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + kept:
        soft = wanted + kept if hard == resource.RLIM_INFINITY else min(wanted + kept, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - kept))


@dataclass
class Connections:
    """All connections of one service. At a limit the oldest one that does nothing makes room."""

    most: int
    most_by_address: int
    client_seconds: float
    """How long a caller may take to send a head, and to read PROGRESS_BYTES."""
    _by_address: dict[str, set[Taken]] = field(default_factory=lambda: defaultdict(set))

    def __len__(self) -> int:
        return sum(map(len, self._by_address.values()))

    def admit(self, new: Taken) -> bool:
        """Whether there is room for this one, made where need be."""
        own = self._by_address[new.address]
        full = own if len(own) >= self.most_by_address else None
        if full is None and len(self) >= self.most:
            full = max(self._by_address.values(), key=len)
        if full is not None:
            # Who never asked goes before who did.
            idle = min(
                (one for one in full if one.is_idle),
                key=lambda one: (not one.is_ending, one.has_asked, one.since),
                default=None,
            )
            if idle is None:
                return False
            self.forget(idle)
            idle.abort()
        self._by_address[new.address].add(new)
        return True

    def forget(self, connection: Taken) -> None:
        """It has ended."""
        own = self._by_address[connection.address]
        own.discard(connection)
        if not own:
            del self._by_address[connection.address]
