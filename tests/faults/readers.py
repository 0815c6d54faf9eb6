"""Readers who ask invariants all the while: what they may never see, and for how long the storage kept them waiting."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import duckdb

from lakehouse.lake.ducklake import Lake
from lakehouse.releases.log import ReleaseError
from lakehouse.releases.pointer import read_pointer
from lakehouse.releases.reading import connect_release
from lakehouse.storage import StorageError
from tests.releases_proof.proof import problems

JUDGE_SQL = """
    SELECT totals.*, all_days.order_cents, all_days.line_cents,
        (SELECT sum(orders) FROM marts.orders_per_day), (SELECT sum(cents) FROM marts.orders_per_day),
        (SELECT sum(lines) FROM marts.lines_per_day), (SELECT sum(cents) FROM marts.lines_per_day),
        (SELECT count(*) FROM marts.orders_per_day AS orders FULL JOIN marts.lines_per_day AS lines USING (day)
         WHERE orders.cents IS DISTINCT FROM lines.cents)
    FROM marts.totals, marts.all_days
"""
PAUSE_SECONDS = 0.3
RETRY_SECONDS = 15.0
"""So long after the storage is back a reader may have to try again."""


@dataclass
class Readers:
    """One thread an environment."""

    lake: Lake
    environments: tuple[str, ...]
    seed: int
    reads: int = 0
    retries: int = 0
    violations: list[str] = field(default_factory=list)
    seen: dict[tuple[str, int], tuple[Any, ...]] = field(default_factory=dict)
    storage_away_until: float = 0.0
    """Monotonic time up to which an error is the storage's."""
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> list[threading.Thread]:
        """Begin to read."""
        threads = [threading.Thread(target=self._follow, args=(name,), daemon=True) for name in self.environments]
        for thread in threads:
            thread.start()
        return threads

    def _follow(self, environment: str) -> None:
        chance = random.Random(self.seed)
        newest = 0
        while not self.stop.is_set():
            try:
                pointer = read_pointer(self.lake.storage, environment)
                if pointer is not None:
                    number = int(pointer["release"])
                    if number < newest and not pointer["held"]:
                        self.violation(f"readers of {environment} went back from {newest} to {number} by themselves")
                    newest = number
                    older = chance.random() < 0.2
                    self._check(environment, chance.randint(max(1, number - 3), number) if older else None)
            except (StorageError, ReleaseError, duckdb.Error) as error:
                self._failed(f"a reader of {environment}: {str(error).splitlines()[0]}")
            except Exception as error:
                self.violation(f"a reader of {environment} broke: {error!r}")
            time.sleep(PAUSE_SECONDS)

    def _check(self, environment: str, number: int | None) -> None:
        try:
            connection, reading = connect_release(self.lake.settings, environment, number)
        except ReleaseError:
            if number is None:
                raise
            return  # an older one may be gone
        with closing(connection):
            try:
                found = connection.execute(JUDGE_SQL).fetchone()
            except duckdb.Error:
                if self._is_gone(environment, reading.number):
                    return
                raise
        with self.lock:
            self.reads += 1
        if found is None:
            self.violation(f"release {reading.number} of {environment}: a served table was never computed")
            return
        known = self.seen.setdefault((environment, reading.number), found)
        if known != found:
            self.violation(f"release {reading.number} of {environment} is {found}, and was {known}")
        for problem in problems(found):
            self.violation(f"release {reading.number} of {environment}: {problem}")

    def _is_gone(self, environment: str, number: int) -> bool:
        """Let go of while it was read, the readers' pointer being elsewhere."""
        pointer = read_pointer(self.lake.storage, environment)
        return pointer is not None and int(pointer["release"]) != number

    def _failed(self, sentence: str) -> None:
        if time.monotonic() < self.storage_away_until:
            with self.lock:
                self.retries += 1
        else:
            self.violation(sentence)

    def violation(self, sentence: str) -> None:
        """What no reader may see."""
        with self.lock:
            if sentence not in self.violations:
                self.violations.append(sentence)
