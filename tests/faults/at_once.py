"""Everybody at once, nobody killed: loads, catch-ups, a backfill, promotions, rollbacks, maintenance and readers."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.faults.readers import Readers
from tests.faults.world import World
from tests.releases_proof.proof import DEV, PROD

LOADERS, READERS = 4, 20
ANSWERS = (
    "No release was cut:",  # somebody was writing, or a load came between: it is tried again
    "There is no release of prod before",
    "has no published release",
    "can't be promoted to",
    "Nothing was changed. Try again when it has ended",
)
"""What is no error but the product's answer."""


@dataclass
class AtOnce:
    """What came of it."""

    seconds: float
    acts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    answers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    reads: int = 0
    lost: int = 0
    doubled: int = 0

    def __str__(self) -> str:
        lines = [
            f"{self.seconds:.0f} s: {self.reads} reads, {len(self.errors)} errors, {len(self.violations)} violations, "
            f"{self.lost} rows lost, {self.doubled} doubled",
            *(
                f"  {act}: {len(seconds)} times, {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s"
                for act, seconds in sorted(self.acts.items())
            ),
            *self.violations[:20],
            *self.errors[:20],
        ]
        return "\n".join(lines)


def at_once(world: World, seconds: float, seed: int) -> AtOnce:
    """Let all of them work for so long, then compare with the truth. `world` has its loaders and its backfill."""
    told = AtOnce(seconds)
    readers = Readers(world.lake, (PROD, DEV) * (READERS // 2), seed)
    threads = readers.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1)
        ended = [name for name, process in world.processes.items() if not process.is_alive()]
        assert not ended, f"{ended} ended by themselves"
    world.stop_loading()
    readers.stop.set()
    for thread in threads:
        thread.join(30)
    for _, act in world.told():
        told.acts[act["act"]].append(act["seconds"])
        if act["problem"]:
            answer = next((words for words in ANSWERS if words in act["problem"]), None)
            if answer:
                told.answers[answer] += 1
            else:
                told.errors.append(f"{act['act']}: {act['problem']}")
    told.reads, told.violations = readers.reads, readers.violations
    told.lost, told.doubled = world.lost_and_doubled()
    return told
