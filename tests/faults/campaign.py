"""Many faults, one after the other, each followed by an ordinary recovery: what was lost, doubled and seen."""

from __future__ import annotations

import contextlib
import random
import signal
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from lakehouse.releases import log
from tests.faults import steps
from tests.faults.readers import RETRY_SECONDS, Readers
from tests.faults.world import World
from tests.releases_proof.proof import DEV, PROD, problems

BURSTS = (1, 3, 6, 12)
"""So many faults come before the lake has recovered from the first of them."""
REACHED_SECONDS = 60.0
RECOVERED_SECONDS = 240.0
SETTLED_SECONDS = 300.0


@dataclass
class Told:
    """What came of one kind of fault."""

    injected: int = 0
    not_reached: int = 0
    seconds: list[float] = field(default_factory=list)
    violations: int = 0


@dataclass
class Report:
    """What came of all of them."""

    seed: int
    where: str
    kinds: dict[str, Told] = field(default_factory=lambda: defaultdict(Told))
    lost: int = 0
    doubled: int = 0
    loads: int = 0
    reads: int = 0
    retries: int = 0
    releases: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def injected(self) -> int:
        """Faults that happened."""
        return sum(told.injected for told in self.kinds.values())

    def __str__(self) -> str:
        lines = [
            f"{self.where}, seed {self.seed}: {self.injected} faults, {self.loads} loads, {self.releases} releases, "
            f"{self.reads} reads ({self.retries} tried again while the storage was away), {self.lost} rows lost, "
            f"{self.doubled} doubled, {len(self.violations)} violations",
            *(
                f"  {name}: {told.injected}" + (f", {told.not_reached} not reached" if told.not_reached else "")
                + (f", recovered in {statistics.median(told.seconds):.1f} s" if told.seconds else "")
                for name, told in sorted(self.kinds.items())
            ),
            *self.violations[:30],
        ]  # fmt: skip
        return "\n".join(lines)


def place(name: str) -> str:
    """The kind of fault that is a named place."""
    return f"SIGKILL, {name}"


class Campaign:
    """Faults on one world."""

    def __init__(self, world: World, *, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.report = Report(seed, "S3" if world.store else "folder")
        self.readers = Readers(world.lake, (PROD, DEV), seed)

    def faults(self) -> dict[str, Callable[[], None]]:
        """Every kind that this world knows. What dies at a named place is only asked for here, and comes by itself."""
        world = self.world
        kinds: dict[str, Callable[[], None]] = {
            f"SIGKILL of {name}": partial(world.kill, name) for name in (steps.LOADER, *world.kinds)
        }
        kinds |= {place(name): partial(steps.ask, world.folder, name) for name in steps.STEPS}
        kinds["SIGKILL of PostgreSQL"] = world.kill_postgres
        if world.has_disk:
            kinds["disk full"] = self._full_disk
        if world.store:
            kinds["SIGKILL of the object store"] = self._store_killed
            kinds["object store answers nothing"] = self._store_frozen
            kinds["object store answers errors"] = lambda: self._store_away("errors")
            kinds["object store is cut off"] = lambda: self._store_away("cut")
        return kinds

    def run(
        self, count: int, only: Iterable[str] = (), bursts: Sequence[int] = BURSTS, seconds: float = float("inf")
    ) -> Report:
        """So many faults, spread over all kinds; none begins after so many seconds."""
        kinds = self.faults()
        names = [name for name in kinds if not only or any(word in name for word in only)]
        threads = self.readers.start()
        try:
            self._wait(lambda: all(self.world.newest_release(name) for name in (PROD, DEV)), RECOVERED_SECONDS)
            order: list[str] = []
            while len(order) < count:
                order += self.random.sample(names, len(names))
            order = order[:count]
            end = time.monotonic() + seconds
            while order and time.monotonic() < end:
                burst = self.random.choice(bursts)
                self._burst({name: kinds[name] for name in order[:burst]})
                order = order[burst:]
            self._settle()
        finally:
            self.readers.stop.set()
            for thread in threads:
                thread.join(30)
        self.report.reads, self.report.retries = self.readers.reads, self.readers.retries
        self.report.violations += self.readers.violations
        return self.report

    def _burst(self, faults: dict[str, Callable[[], None]]) -> None:
        """One fault, or some before the lake has recovered from the first; then an ordinary recovery."""
        violations = len(self.readers.violations)
        happened: dict[str, float] = {}
        places = {place(name): name for name in steps.STEPS if place(name) in faults}
        for name in sorted(faults, key=lambda name: name not in places):
            faults[name]()
            if name not in places:
                happened[name] = time.monotonic()
                self._wait(lambda: False, self.random.uniform(0, 2))
        self._wait(lambda: all(steps.is_reached(self.world.folder, name) for name in places.values()), REACHED_SECONDS)
        for fault, name in places.items():
            if steps.take_back(self.world.folder, name):
                self.report.kinds[fault].not_reached += 1
            else:
                happened[fault] = time.monotonic()
        marks = self.world.marks()
        releases = {PROD: self.world.newest_release(PROD)}
        recovered = self._wait(lambda: self.world.is_well_since(marks, releases), RECOVERED_SECONDS)
        if not recovered:
            self.report.violations.append(f"not recovered from {list(faults)} (unfinished: {self.world.marks()})")
        for name, began in happened.items():
            told = self.report.kinds[name]
            told.injected += 1
            told.violations += len(self.readers.violations) - violations
            if recovered:
                told.seconds.append(time.monotonic() - began)

    def _wait(self, done: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.world.tend()
            with contextlib.suppress(Exception):  # PostgreSQL may be coming back
                if done():
                    return True
            time.sleep(0.3)
        return False

    def _settle(self) -> None:
        """No more comes; an ordinary run brings all of it to readers. Then all is compared with the truth."""
        self.world.stop_loading()
        deadline = time.monotonic() + SETTLED_SECONDS
        while not self._is_settled():
            if time.monotonic() > deadline:
                self.report.violations.append(f"readers never got the last load; unfinished: {self.world.marks()}")
                break
            time.sleep(1)
            self.world.tend()
        self.report.lost, self.report.doubled = self.world.lost_and_doubled()
        self.report.releases = sum(self.world.newest_release(name) for name in (PROD, DEV))

    def _is_settled(self) -> bool:
        """Nobody's mark is left but on what stands still, and both environments serve what raw holds."""
        with closing(self.world.lake.connect(read_only=True)) as connection:
            row = connection.execute("SELECT max(load) FROM raw.proof__orders").fetchone()
        self.report.loads = int(row[0] or 0) if row else 0
        with closing(self.world.ledger()) as connection:
            numbers = {name: log.newest(connection, name, "published") for name in (PROD, DEV)}
        for name, release in numbers.items():
            found = self.readers.seen.get((name, release.number)) if release else None
            if release and found is None:
                with contextlib.suppress(Exception):
                    self.readers._check(name, release.number)
            if found is None or found[0] != self.report.loads or problems(found):
                return False
        return True

    # ------------------------------------------------------------------------------------------- kinds

    def _full_disk(self) -> None:
        with self._storage_away():
            with self.world.full_disk():
                time.sleep(self.random.uniform(1, 4))

    def _store_killed(self) -> None:
        assert self.world.store
        with self._storage_away():
            self.world.store.kill()
            time.sleep(self.random.uniform(0, 3))
            self.world.store.start()

    def _store_frozen(self) -> None:
        assert self.world.store and self.world.store.process
        with self._storage_away():
            self.world.store.process.send_signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(1, 5))
            self.world.store.process.send_signal(signal.SIGCONT)

    def _store_away(self, mode: str) -> None:
        with self._storage_away():
            self.world.store_answers(mode)  # type: ignore[arg-type]
            time.sleep(self.random.uniform(1, 4))
            self.world.store_answers("pass")

    @contextlib.contextmanager
    def _storage_away(self):  # type: ignore[no-untyped-def]
        """What readers meet meanwhile is the storage's error; a while later it is ours."""
        self.readers.storage_away_until = float("inf")
        try:
            yield
        finally:
            self.readers.storage_away_until = time.monotonic() + RETRY_SECONDS
