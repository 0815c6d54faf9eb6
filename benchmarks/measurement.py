"""What one thing cost, measured several times, beside its peer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One measurement. CPU seconds are user and system together."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int = 0
    """Peak resident memory of the largest single process; 0 where only a part of a process was measured."""


@dataclass
class Measured:
    """One thing, in the order in which it was measured; `command` is what was run, as a reader can repeat it."""

    name: str
    command: str = ""
    samples: list[Sample] = field(default_factory=list)

    def values(self, what: str = "seconds") -> list[float]:
        """One figure of every measurement: `seconds`, `cpu_seconds` or `peak_bytes`."""
        return [getattr(sample, what) for sample in self.samples]

    def median(self, what: str = "seconds") -> float:
        """The middle of it."""
        return statistics.median(self.values(what))

    def plain(self) -> dict[str, Any]:
        """The same as JSON takes it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Measured:
        """From `plain`."""
        return cls(plain["name"], plain["command"], [Sample(**sample) for sample in plain["samples"]])


def timed(function: Callable[[], Any]) -> Sample:
    """What a call cost in this process, all its threads."""
    started, cpu_started = time.perf_counter(), time.process_time()
    function()
    return Sample(time.perf_counter() - started, time.process_time() - cpu_started)


def in_turns(runs: int, *things: tuple[Measured, Callable[[], Sample]]) -> None:
    """Measure them one after the other, `runs` times: A B A B …, so that what the machine does meanwhile meets all."""
    for _ in range(runs):
        for measured, measure in things:
            measured.samples.append(measure())


def ratio(ours: Measured, peer: Measured, what: str = "seconds") -> float:
    """The median of the pairs' ratios: each measurement against the one that ran beside it."""
    return statistics.median(a / b for a, b in zip(ours.values(what), peer.values(what), strict=True))


def differences(ours: Measured, *peers: Measured, what: str = "cpu_seconds") -> list[float]:
    """Pair by pair, ours less all peers together."""
    others = zip(*(peer.values(what) for peer in peers), strict=True)
    return [value - sum(beside) for value, beside in zip(ours.values(what), others, strict=True)]


def spread(values: Sequence[float]) -> str:
    """`median (min–max)`, as many digits as mean something."""
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Three figures at most behind the point, fewer for what is large."""
    return f"{value:.3f}" if abs(value) < 0.1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
