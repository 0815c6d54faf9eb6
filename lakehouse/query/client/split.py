"""A question over many days as many questions over one: asked in parallel of one release, their answers combined."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lakehouse.query.client.result import About, Result, columns_of, read_arrow
from lakehouse.query.engine.formats import ARROW, FORMATS, Answer, unique_names
from lakehouse.query.engine.parsing import first_line, single
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.values import columns_of as types_of
from lakehouse.query.engine.values import selecting

if TYPE_CHECKING:
    import pyarrow as pa

    from lakehouse.query.client import Client

ALL_ROWS = "FROM parts"
NO_LIMIT = 1 << 62
PLAIN_TYPE = re.compile(r"(HUGEINT|UHUGEINT|INTERVAL|UUID|BIT|BIGNUM|TIME WITH TIME ZONE|ENUM\(.*\))", re.DOTALL)
"""Types that travel as another one and are cast back from it."""


def parse_days(text: str) -> list[date]:
    """`2024-01-01..2024-01-10`, both included, single days, or several of these with commas.

    Raises:
        QueryError: it is none of that.
    """
    found: list[date] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("..")
        try:
            start = date.fromisoformat(first.strip())
            end = date.fromisoformat(last.strip()) if last else start
        except ValueError:
            raise QueryError(
                "invalid-request", f"{part.strip()!r} is no day: write 2024-01-31 or 2024-01-01..2024-01-31."
            ) from None
        if end < start:
            raise QueryError("invalid-request", f"{part.strip()!r} ends before it begins.")
        found += [start + timedelta(days=number) for number in range((end - start).days + 1)]
    return found


def query_by_day(
    client: Client,
    sql: str,
    days: Iterable[date | str],
    *,
    combine: str | None = None,
    at_once: int = 4,
    parameters: Mapping[str, Any] | None = None,
    release: int | None = None,
    environment: str | None = None,
    limit: int = 100_000,
) -> Result:
    """See `Client.query_by_day`."""
    started = time.perf_counter()
    # A day that is named twice counts once, as it would in one go.
    asked = list(dict.fromkeys(str(day) for day in days))
    if not asked:
        raise QueryError("invalid-request", "No day is named.")
    if "$day" not in sql:
        raise QueryError("invalid-request", "The SQL must name its day: write $day.")
    # Without a number each call would follow the pointer by itself, and a release may come out between two of them.
    number = release if release is not None else client.newest(environment)

    def part(day: str) -> Result:
        given = {**(parameters or {}), "day": day}
        found = client.query(sql, parameters=given, release=number, environment=environment, limit=limit)
        if found.cut:
            raise QueryError(
                "too-large", f"The answer for {day} was cut at its limit of {found.cut}, after {found.rows:,} rows: "
                "a total over it would be wrong.",
            )  # fmt: skip
        return found

    parts = _in_parallel(part, asked, at_once)
    table = combined([one.arrow() for one in parts], combine or ALL_ROWS)
    about = About(
        release=parts[0].release, environment=parts[0].environment, cut_at=parts[0].cut_at, held=parts[0].held,
        warm=all(one.warm for one in parts), cached=all(one.cached for one in parts),
        rows=table.num_rows, execution_ms=sum(one.execution_ms for one in parts),
    )  # fmt: skip
    took = (time.perf_counter() - started) * 1000
    return Result(**asdict(about), round_trip_ms=took, columns=columns_of(table), _table=table)


def _in_parallel(part: Callable[[str], Result], days: Sequence[str], at_once: int) -> list[Result]:
    """Each day's answer, in the order of the days. The first that fails keeps the rest from being asked."""
    threads = ThreadPoolExecutor(max(1, min(at_once, len(days))))
    try:
        calls = [threads.submit(part, day) for day in days]
        wait(calls, return_when=FIRST_EXCEPTION)
        failed = next((error for one in calls if one.done() and (error := one.exception())), None)
        if failed:
            raise failed
        return [one.result() for one in calls]
    finally:
        threads.shutdown(cancel_futures=True)


def combined(parts: Sequence[pa.Table], sql: str) -> pa.Table:
    """The answer to SQL over `parts`, in a DuckDB of its own that reaches nothing else.

    Raises:
        QueryError: the SQL fails, or the parts don't fit together.
    """
    table, _ = read_arrow(rendered(parts, ARROW, sql))
    return table


def rendered(parts: Sequence[pa.Table], media_type: str, sql: str = ALL_ROWS) -> bytes:
    """The same in any format, as the service writes it."""
    import duckdb
    import pyarrow as pa

    try:
        table = pa.concat_tables(parts)
    except pa.ArrowInvalid:
        raise QueryError("failed", "The days' answers have different columns: cast them in the SQL.") from None
    columns = columns_of(table)
    names = unique_names([column.name for column in columns])
    config: dict[str, str | bool | int | float | list[str]] = {
        "python_enable_replacements": False,
        "enable_external_access": False,
        "autoload_known_extensions": False,
    }
    with closing(duckdb.connect(config=config)) as connection:
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("arrived", table.rename_columns([f"c{number}" for number in range(len(names))]))
            chosen = ", ".join(
                f'c{number}{f"::{column.type}" if PLAIN_TYPE.fullmatch(column.type) else ""} AS "{name}"'
                for number, (name, column) in enumerate(
                    zip((name.replace('"', '""') for name in names), columns, strict=True)
                )
            )
            connection.execute(f"CREATE VIEW parts AS SELECT {chosen} FROM arrived")
            connection.execute("SET lock_configuration = true")
            form = FORMATS[media_type]
            pieces: list[bytes | memoryview] = []
            sql = single(sql)
            relation = connection.sql(sql)
            if relation is None:
                raise QueryError("refused", "What combines the days is one SELECT over the table parts.")
            found = types_of(relation)
            connection.execute(selecting(sql, found, form.casts))
            answer = Answer(connection, [(name, str(kind)) for name, kind in found], NO_LIMIT, NO_LIMIT)
            form.write(answer, lambda sent: pieces.extend(sent), lambda: 0.0)
        except duckdb.Error as error:
            raise QueryError("failed", f"The combining statement failed: {first_line(error)}") from None
    return b"".join(pieces)
