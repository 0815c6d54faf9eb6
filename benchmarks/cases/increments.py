"""Thousands of small loads: what a query costs before and after compaction, beside a table written at once."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, in_turns, ratio, timed
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

INCREMENTS = 2_000
ROWS = 500
MOST = 1.5
COLUMNS = "range AS id, DATE '2024-01-01' + (range % 365)::INT AS day, range % 97 AS kind, (range * 7 % 1000) / 10 AS x"
QUERY = "SELECT kind, count(*), sum(x), max(day) FROM raw.{} GROUP BY kind ORDER BY kind"


def measure(options: Options) -> Section:
    """In a child, since compaction and queries share DuckDB's caches with nobody else then."""
    increments = options.scaled(INCREMENTS, 20)
    with throwaway() as lakehouse:
        found = lakehouse.call("benchmarks.cases.increments:inside", increments=increments, runs=max(options.runs, 3))
    before, after, fresh = (Measured.of(plain) for plain in found["queries"])
    section = Section()
    slowdown = ratio(after, fresh)
    section.judge(
        f"after {increments:,} small increments and compaction a query costs at most {MOST} times that of a freshly "
        "written table",
        f"{slowdown:.2f} times (before compaction {before.median() / fresh.median():.1f} times)",
        slowdown <= MOST,
    )
    section.comparison([before, after, fresh], peer=fresh)
    section.table(
        ["compaction", ""],
        [
            ["files before", f"{found['files'][0]:,}"],
            ["files after", f"{found['files'][1]:,}"],
            ["seconds", f"{found['seconds']:.1f}"],
        ],
    )
    return section


def inside(increments: int, runs: int) -> dict[str, Any]:
    """The same rows in small increments, compacted, and at once."""
    from lakehouse.lake.ducklake import Lake
    from lakehouse.settings import load_settings
    from lakehouse.upkeep.maintenance import compaction

    lake = Lake(load_settings())
    lake.bootstrap()
    before = Measured("after the increments", QUERY.format("small"))
    after = Measured("after compaction", QUERY.format("small"))
    fresh = Measured("freshly written", QUERY.format("fresh"))
    with closing(lake.connect()) as connection:
        connection.execute(f"CREATE TABLE raw.small AS SELECT {COLUMNS} FROM range(0)")
        for number in range(increments):
            first = number * ROWS
            connection.execute(f"INSERT INTO raw.small SELECT {COLUMNS} FROM range({first}, {first + ROWS})")
        connection.execute(f"CREATE TABLE raw.fresh AS SELECT {COLUMNS} FROM range({increments * ROWS})")

    def ask(table: str) -> None:
        connection.execute(QUERY.format(table)).fetchall()

    with closing(lake.connect(read_only=True)) as connection:
        ask("small")
        in_turns(runs, (before, lambda: timed(partial(ask, "small"))))
    done: list[Any] = []
    compacted = timed(lambda: done.append(compaction.compact(lake, {})))
    with closing(lake.connect(read_only=True)) as connection:
        ask("small"), ask("fresh")
        pair = ((after, lambda: timed(partial(ask, "small"))), (fresh, lambda: timed(partial(ask, "fresh"))))
        in_turns(3 * runs, *pair)
    # Pairs: the ratio is of what ran in turns.
    before.samples = (before.samples * 3)[: len(fresh.samples)]
    (outcome,) = done
    return {
        "queries": [before.plain(), after.plain(), fresh.plain()],
        "files": [outcome.figures["files_before"] - 1, outcome.figures["files_after"] - 1],
        "seconds": compacted.seconds,
    }


CASE = Case(
    "increments",
    "Small increments and compaction",
    f"A table that came in loads of {ROWS} rows, each a file of its own, read before and after "
    "`lakehouse maintain compaction`, beside the same rows written at once. In process, over one connection each.",
    measure,
)
