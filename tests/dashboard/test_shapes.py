"""How a table is drawn follows from its columns, and every question of its page can be answered."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import duckdb
import pytest

from lakehouse.dashboard.shapes import CATEGORIES, shape_of

TABLES: dict[str, tuple[list[str], str]] = {
    "event_date DATE, purchases BIGINT, net_revenue DECIMAL(18, 2), average_price_usd DOUBLE": (
        ["event_date"], "event_date | net_revenue,purchases | average_price_usd | "
    ),
    "borough VARCHAR, crash_month DATE, crashes BIGINT, crash_id BIGINT": (
        ["borough", "crash_month"], "crash_month | crashes |  | borough"
    ),
    "pickup_location_id BIGINT, trips BIGINT": ([], " | trips |  | pickup_location_id"),
    "seen TIMESTAMPTZ, latitude DOUBLE, longitude DOUBLE, \"odd \"\"name\" VARCHAR, l INTEGER[], injured UTINYINT": (
        [], "seen | injured |  | odd \"name"
    ),
    "s STRUCT(a INTEGER)": ([], " |  |  | "),
}  # fmt: skip


def shaped(columns: str, grain: list[str], connection: duckdb.DuckDBPyConnection) -> Any:
    connection.execute(f'CREATE SCHEMA marts; CREATE TABLE marts."a table" ({columns})')
    described = connection.execute('DESCRIBE marts."a table"').fetchall()
    told = [{"name": name, "type": kind, "description": ""} for name, kind, *_ in described]
    return shape_of({"name": "marts.a table", "columns": told, "grain": grain})


@pytest.mark.parametrize("columns", TABLES)
def test_columns_say_what_is_drawn_and_every_question_is_answered(columns: str) -> None:
    grain, expected = TABLES[columns]
    with closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        shape = shaped(columns, grain, connection)
        parts = (shape.time, *(",".join(names) for names in (shape.measures, shape.averages, shape.categories)))
        assert " | ".join(parts) == expected
        assert (shape.coordinates is not None) == ("latitude" in columns)
        questions = [shape.totals(), shape.rows(contains=False), shape.rows(contains=True)]
        for value in (*shape.values, "rows"):
            questions += [shape.over_time(value)] if shape.time else []
            questions += [shape.by_category(name, value) for name in shape.categories]
        questions += [shape.places()] if shape.coordinates else []
        given = {"period": "fitting", "words": "x"}
        for sql in questions:
            connection.execute(sql, {name: value for name, value in given.items() if f"${name}" in sql}).fetchall()


def test_a_long_time_is_drawn_by_month_and_only_the_largest_are_bars() -> None:
    with closing(duckdb.connect()) as connection:
        shape = shaped("day DATE, shop VARCHAR, sold INTEGER", ["day"], connection)
        connection.execute(
            'INSERT INTO marts."a table" '
            "SELECT DATE '2020-01-01' + i::INTEGER, 'shop ' || i % 50, i FROM range(1000) t(i)"
        )
        rows = connection.execute(shape.over_time("sold"), {"period": "fitting"}).fetchall()
        assert {period for period, *_ in rows} == {"month"} and sum(value for *_, value in rows) == 499_500
        assert len(connection.execute(shape.over_time("sold"), {"period": "year"}).fetchall()) == 3
        bars = connection.execute(shape.by_category("shop", "rows")).fetchall()
        assert len(bars) == CATEGORIES and bars[0][1] == 20
