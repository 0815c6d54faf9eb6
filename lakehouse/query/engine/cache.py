"""Answers that were given before: whole ones, by release and question, within a bound of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

LARGEST_SHARE = 8
"""One answer takes at most this part of the bound."""
OVERHEAD_BYTES = 2_000


@dataclass(frozen=True)
class CachedAnswer:
    """A whole answer, as it goes out."""

    body: bytes
    rows: int
    cut: str
    execution_ms: float
    columns: list[tuple[str, str]]
    translated: bool = False
    parameters: list[str] = field(default_factory=list)


class AnswerCache:
    """The least recently used answers go first."""

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self._answers: OrderedDict[str, CachedAnswer] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def largest(self) -> int:
        """Bytes of the largest answer that is kept."""
        return self.max_bytes // LARGEST_SHARE

    def get(self, key: str) -> CachedAnswer | None:
        """The answer, when it is still there."""
        with self._lock:
            found = self._answers.get(key)
            if found is not None:
                self._answers.move_to_end(key)
            return found

    def put(self, key: str, answer: CachedAnswer) -> None:
        """Keep an answer, unless it is too large."""
        size = len(answer.body) + OVERHEAD_BYTES
        if len(answer.body) > self.largest:
            return
        with self._lock:
            old = self._answers.pop(key, None)
            self.size_bytes += size - (len(old.body) + OVERHEAD_BYTES if old else 0)
            self._answers[key] = answer
            while self.size_bytes > self.max_bytes:
                _, gone = self._answers.popitem(last=False)
                self.size_bytes -= len(gone.body) + OVERHEAD_BYTES
