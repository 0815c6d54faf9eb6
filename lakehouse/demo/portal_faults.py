"""Faults that tests order from the local portal: each spoils one request, in the order in which they were given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """Answer with a status instead of rows: 202, 429 (with Retry-After or without), 500, …"""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": true, "message": "ordered by a test"}'


@dataclass(frozen=True)
class ShortPage:
    """Give at most this many rows, though there are more."""

    rows: int


@dataclass(frozen=True)
class CutConnection:
    """Send half of the body, then close."""


@dataclass(frozen=True)
class NotJson:
    """A body that is no JSON, status 200."""

    body: str = "<html><body>Service temporarily unavailable</body></html>"


@dataclass(frozen=True)
class NeverAnswer:
    """Hold the connection open and send nothing."""


@dataclass(frozen=True)
class Meanwhile:
    """Do something to the rows, then answer normally: rows that change while pages are being read."""

    act: Callable[[], None]


Fault = Status | ShortPage | CutConnection | NotJson | NeverAnswer | Meanwhile | None


class Faults:
    """A queue: each request for rows takes one fault (None: answer normally) until it is empty."""

    def __init__(self) -> None:
        self._ordered: deque[Fault] = deque()

    def order(self, *faults: Fault) -> None:
        """Spoil the next requests, one each."""
        self._ordered.extend(faults)

    def take(self) -> Fault:
        """The fault of the request that has just come in."""
        return self._ordered.popleft() if self._ordered else None

    @property
    def pending(self) -> int:
        """Faults that no request has met yet."""
        return len(self._ordered)
