"""A second source, as users write theirs: appended rows with lists in them, which dlt puts into a child table."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from lakehouse.lake.ducklake import Lake
from lakehouse.writing.loads import loading
from lakehouse.writing.pipelines import lake_pipeline

SOURCE = "baskets"
TABLE = f"{SOURCE}__baskets"
ITEMS = f"{TABLE}__items"
A_LOAD, ITEMS_A_BASKET = 12, 3
EVENT_TIMES: dict[str, str | None] = {f"raw.{TABLE}": None, f"raw.{ITEMS}": None}
MODEL = f"""MODEL (name marts.baskets, kind FULL, start '2024-01-01', tags (published));

SELECT
  max(load)::BIGINT AS loads,
  count(*)::BIGINT AS baskets,
  (SELECT count(*) FROM raw.{ITEMS})::BIGINT AS items,
  (SELECT sum(cents) FROM raw.{ITEMS})::BIGINT AS cents
FROM raw.{TABLE}
"""
EXTERNAL = f"""
- name: raw.{TABLE}
  columns:
    basket: bigint
    load: bigint
- name: raw.{ITEMS}
  columns:
    cents: bigint
    _dlt_parent_id: text
"""


def cents(load: int) -> list[int]:
    """What the items of a load cost."""
    return [(load * 37 + number * 11) % 900 + 1 for number in range(A_LOAD * ITEMS_A_BASKET)]


def truth(loads: int) -> tuple[int, int, int, int]:
    """Loads, baskets, items, cents when so many loads are whole."""
    count = loads * A_LOAD
    return loads, count, count * ITEMS_A_BASKET, sum(sum(cents(load)) for load in range(1, loads + 1))


def load_once(lake: Lake) -> None:
    """The next load: rows are appended, so a load that is done twice shows."""
    import dlt

    with loading(lake, SOURCE, EVENT_TIMES, run="baskets"):
        load = _loaded(lake) + 1
        prices = iter(cents(load))
        rows: list[dict[str, Any]] = [
            {
                "basket": load * A_LOAD + number,
                "load": load,
                "items": [{"cents": next(prices)} for _ in range(ITEMS_A_BASKET)],
            }
            for number in range(A_LOAD)
        ]
        source = dlt.resource(rows, name=TABLE, write_disposition="append")
        lake_pipeline(lake, SOURCE).run(source).raise_on_failed_jobs()


def _loaded(lake: Lake) -> int:
    with closing(lake.connect(read_only=True)) as connection:
        there = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'raw' AND table_name = ?", [TABLE]
        ).fetchone()
        row = connection.execute(f"SELECT max(load) FROM raw.{TABLE}").fetchone() if there and there[0] else None
    return int(row[0] or 0) if row else 0
