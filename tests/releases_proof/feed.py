"""A made-up shop whose truth is known: after load n every total is a number that `truth(n)` computes.

Each load brings new orders with their lines, and changes the amounts of orders that earlier loads brought. An order's
amount is the sum of its lines, so totals of the two tables agree whenever both hold the same loads.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

SOURCE = "proof"
ORDERS, LINES = f"{SOURCE}__orders", f"{SOURCE}__order_lines"
EVENT_TIMES: dict[str, str | None] = {f"raw.{ORDERS}": "ordered_at", f"raw.{LINES}": "ordered_at"}
PIPELINE_OF = dict.fromkeys(EVENT_TIMES, SOURCE)
ORDERS_A_LOAD = 40
LINES_AN_ORDER = 3
DAYS = 28
FIRST_DAY = datetime(2024, 1, 1)


def changed_by(load: int) -> list[int]:
    """The orders that a load writes: its own, and every third of the load two before it."""
    own = range(load * 1000, load * 1000 + ORDERS_A_LOAD)
    old = range((load - 2) * 1000, (load - 2) * 1000 + ORDERS_A_LOAD, 3) if load > 2 else range(0)
    return [*old, *own]


def line_cents(order: int, line: int, load: int) -> int:
    """What a line costs after this load has written it."""
    return (order * 31 + line * 7 + load * 101) % 5000 + 1


def rows(load: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a load brings: orders, lines."""
    orders, lines = [], []
    for order in changed_by(load):
        ordered_at = FIRST_DAY + timedelta(days=order * 7 % DAYS, minutes=order % 1000)
        cents = [line_cents(order, line, load) for line in range(LINES_AN_ORDER)]
        orders.append({"order_id": order, "load": load, "ordered_at": ordered_at, "cents": sum(cents)})
        lines += [
            {"line_id": order * 10 + line, "load": load, "ordered_at": ordered_at, "cents": amount}
            for line, amount in enumerate(cents)
        ]
    return orders, lines


def truth(loads: int) -> tuple[int, int]:
    """Orders, and cents of them all, when this many loads are whole."""
    cents: dict[int, int] = {}
    for load in range(1, loads + 1):
        for order in changed_by(load):
            cents[order] = sum(line_cents(order, line, load) for line in range(LINES_AN_ORDER))
    return len(cents), sum(cents.values())


def source(load: int = 0) -> Any:
    """The dlt source: two tables of one pipeline. Load 0 brings nothing."""
    import dlt
    import pyarrow as pa

    orders, lines = rows(load) if load else ([], [])
    hints = {"load": {"data_type": "bigint"}, "cents": {"data_type": "bigint"}}
    time = {"data_type": "timestamp", "timezone": False}

    def table(name: str, key: str, content: list[dict[str, Any]]) -> Any:
        columns = {key: {"data_type": "bigint"}, "ordered_at": time, **hints}
        # As Arrow: dlt adds no columns of its own, which an empty table could not get later.
        data = [pa.Table.from_pylist(content)] if content else []
        return dlt.resource(data, name=name, primary_key=key, write_disposition="merge", columns=columns)

    @dlt.source(name=SOURCE)
    def shop() -> Any:
        return table(ORDERS, "order_id", orders), table(LINES, "line_id", lines)

    return shop()
