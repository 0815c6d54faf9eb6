"""An online shop's purchases and refunds: a Parquet file a month."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

INVOICES_PER_DAY = 40
MONTHS = ("2009-12", "2010-01", "2010-02")
FIRST_DAY, DAYS = datetime(2009, 12, 1), 90
SCHEMA = pa.schema(
    [
        ("event_id", pa.int32()),
        ("user_id", pa.int32()),
        ("event_type", pa.string()),
        ("event_timestamp", pa.timestamp("us")),
        ("revenue", pa.decimal128(12, 2)),
        ("invoice", pa.string()),
        ("sku", pa.string()),
        ("country", pa.string()),
    ]
)


def write(folder: Path, random: Random) -> None:
    """Dirt: a fifth without a user, lines that repeat all but their number, bad debt written off as a purchase."""
    events: list[dict[str, Any]] = []
    for day in range(DAYS):
        for number in range(INVOICES_PER_DAY):
            events += _invoice(random, FIRST_DAY + timedelta(days=day), 489_434 + day * INVOICES_PER_DAY + number)
    for event_id, event in enumerate(events, start=1):
        event["event_id"] = event_id
    for month in MONTHS:
        rows = [event for event in events if event["event_timestamp"].strftime("%Y-%m") == month]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        pq.write_table(table, folder / f"ecommerce_events_{month.replace('-', '_')}.parquet")


def _invoice(random: Random, day: datetime, number: int) -> list[dict[str, Any]]:
    refund = random.random() < 0.04
    common = {
        "user_id": None if random.random() < 0.2 else 12_346 + int(900 * random.random() ** 2),
        "event_type": "refund" if refund else "purchase",
        "event_timestamp": day + timedelta(minutes=random.randrange(7 * 60, 20 * 60)),
        "invoice": f"C{number}" if refund else str(number),
        "country": random.choice(("United Kingdom",) * 8 + ("EIRE", "Germany", "France")),
    }
    if number % 1_500 == 0:
        debt = {"event_type": "purchase", "invoice": f"A{number}", "sku": "B", "revenue": Decimal("-9000.00")}
        return [{**common, **debt}]
    lines = []
    for _ in range(random.randint(1, 10)):
        pence = random.randint(1, 24) * random.choice((42, 85, 125, 165, 295, 495))
        revenue = Decimal(-pence if refund else pence).scaleb(-2)
        lines.append({**common, "sku": str(random.randint(10_002, 90_214)), "revenue": revenue})
    if random.random() < 0.01:
        lines.append(dict(lines[-1]))
    return lines
