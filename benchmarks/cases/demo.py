"""The whole demo over the real files."""

from __future__ import annotations

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, in_turns, spread
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

FIRST_SECONDS, SECOND_SECONDS, PEAK_BYTES = 120, 25, 2 * 2**30


def measure(options: Options) -> Section:
    """The first run into an empty data folder once or twice, the second run as often as asked."""
    words = ["lakehouse", "demo", "--data", str(options.data)]
    shown = "lakehouse demo --data ../shared/data"
    first = Measured("first run, empty data folder", shown)
    second = Measured("run again, nothing new", shown)
    for repeat in range(1 if options.runs < 5 else 2):
        with throwaway(with_postgres=False) as lakehouse:
            in_turns(1, (first, lambda: lakehouse.command(*words)))
            if repeat == 0:
                in_turns(min(options.runs, 2), (second, lambda: lakehouse.command(*words)))
    section = Section()
    section.comparison([first, second])
    section.judge(
        f"a first run under {FIRST_SECONDS} s", f"{spread(first.values())} s", max(first.values()) < FIRST_SECONDS
    )
    section.judge(
        f"a second run under {SECOND_SECONDS} s", f"{spread(second.values())} s", max(second.values()) < SECOND_SECONDS
    )
    peak = max([*first.values("peak_bytes"), *second.values("peak_bytes")])
    section.judge("no process over 2 GB", f"{peak / 2**30:.2f} GB at most", peak < PEAK_BYTES)
    return section


CASE = Case(
    "demo",
    "The demo over the real files",
    "The whole command, PostgreSQL's start and both Dagster runs included, after installation. "
    "The CPU is without PostgreSQL's, which comes and goes with the command.",
    measure,
)
