"""Who used what was shared: a line an answer, in a file a month and share, on the machine whose service answered."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

LOG = logging.getLogger("lakehouse.query")
SQL_CHARACTERS = 1_000
"""Of a statement that are kept."""


@dataclass(frozen=True)
class Use:
    """One answer."""

    at: str  # when it ended; UTC, as 2026-11-28T04:00:00Z
    share: str
    environment: str
    release: int
    sql: str
    rows: int
    bytes: int
    seconds: float  # of the statement; 0 for a kept answer
    way: str  # http, postgres, mcp


class UsageLog:
    """Writes and reads them. A service that can't write answers all the same, and says so once."""

    def __init__(self, data_dir: Path):
        self._folder = data_dir / "usage"
        self._lock = threading.Lock()
        self._has_failed = False

    def note(self, use: Use) -> None:
        """An answer was given, whole or as far as it was read."""
        try:
            with self._lock:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(self._folder / f"{use.share}.{use.at[:7]}.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(use)) + "\n")
        except OSError as error:
            if not self._has_failed:
                LOG.warning("the use of shares can't be counted in %s: %s", self._folder, error.strerror)
            self._has_failed = True

    def read(self, share: str) -> Iterator[Use]:
        """All that is known here of a share, the oldest first. A line that was cut off is left out."""
        for path in sorted(self._folder.glob("*.jsonl")):
            if path.name.rsplit(".", 2)[0] != share:
                continue
            with open(path, encoding="utf-8") as file:
                for line in file:
                    try:
                        yield Use(**json.loads(line))
                    except (ValueError, TypeError):
                        continue
