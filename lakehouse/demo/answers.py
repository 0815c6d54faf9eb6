"""The questions that the demo answers at its end, and how the answers look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import duckdb
from rich import box
from rich.table import Table


@dataclass(frozen=True)
class Answer:
    """A question to the marts: a few rows, and one row of totals with the same columns."""

    name: str
    title: str
    sql: str
    totals_sql: str
    mart: str


ANSWERS = (
    Answer(
        name="daily_revenue",
        title="Daily revenue of the online shop, pounds (the newest days)",
        mart="marts.daily_revenue",
        sql="""
            SELECT event_date AS day, unique_users AS users, purchases, total_revenue AS sold,
                refunded_revenue AS refunded, net_revenue AS net
            FROM marts.daily_revenue ORDER BY event_date DESC LIMIT 7""",
        totals_sql="""
            SELECT 'all ' || COUNT(*) || ' days', NULL, SUM(purchases), SUM(total_revenue),
                SUM(refunded_revenue), SUM(net_revenue)
            FROM marts.daily_revenue""",
    ),
    Answer(
        name="collisions",
        title="Collisions in New York by borough and month (the newest months)",
        mart="marts.collisions_summary",
        sql="""
            SELECT STRFTIME(crash_month, '%Y-%m') AS month,
                SUM(CASE WHEN borough = 'BRONX' THEN crashes ELSE 0 END) AS bronx,
                SUM(CASE WHEN borough = 'BROOKLYN' THEN crashes ELSE 0 END) AS brooklyn,
                SUM(CASE WHEN borough = 'MANHATTAN' THEN crashes ELSE 0 END) AS manhattan,
                SUM(CASE WHEN borough = 'QUEENS' THEN crashes ELSE 0 END) AS queens,
                SUM(CASE WHEN borough = 'STATEN ISLAND' THEN crashes ELSE 0 END) AS staten,
                SUM(CASE WHEN borough = 'UNKNOWN' THEN crashes ELSE 0 END) AS unknown,
                SUM(persons_killed) AS killed
            FROM marts.collisions_summary GROUP BY crash_month ORDER BY crash_month DESC LIMIT 6""",
        totals_sql="""
            SELECT 'all',
                SUM(CASE WHEN borough = 'BRONX' THEN crashes ELSE 0 END),
                SUM(CASE WHEN borough = 'BROOKLYN' THEN crashes ELSE 0 END),
                SUM(CASE WHEN borough = 'MANHATTAN' THEN crashes ELSE 0 END),
                SUM(CASE WHEN borough = 'QUEENS' THEN crashes ELSE 0 END),
                SUM(CASE WHEN borough = 'STATEN ISLAND' THEN crashes ELSE 0 END),
                SUM(CASE WHEN borough = 'UNKNOWN' THEN crashes ELSE 0 END),
                SUM(persons_killed)
            FROM marts.collisions_summary""",
    ),
    Answer(
        name="top_pickup_zones",
        title="Taxi zones with the most pick-ups",
        mart="marts.top_pickup_locations",
        sql="""
            SELECT CAST(position AS VARCHAR) AS "#", pickup_zone AS zone, pickup_borough AS borough, trips,
                total_amount_usd AS dollars, CAST(total_amount_usd / trips AS DECIMAL(12, 2)) AS "dollars a trip"
            FROM marts.top_pickup_locations ORDER BY position LIMIT 10""",
        totals_sql="""
            SELECT NULL, 'all ' || COUNT(*) || ' zones', NULL, SUM(trips), SUM(total_amount_usd),
                CAST(SUM(total_amount_usd) / SUM(trips) AS DECIMAL(12, 2))
            FROM marts.trips_by_pickup_location""",
    ),
    Answer(
        name="food_prices",
        title="Food prices by country and year (dollars a kg: cereals and tubers, retail)",
        mart="marts.food_prices_monthly",
        sql="""
            SELECT country_iso3 AS country, CAST(EXTRACT(YEAR FROM price_month) AS VARCHAR) AS year,
                SUM(prices) AS prices, COUNT(DISTINCT commodity) AS goods,
                CAST(SUM(average_price_usd * prices / kilograms) / SUM(CASE WHEN kilograms > 0 THEN prices END)
                    AS DECIMAL(12, 2)) AS "dollars a kg"
            FROM (
                SELECT *, CASE WHEN category = 'cereals and tubers' AND price_type = 'Retail'
                    THEN CASE unit WHEN 'KG' THEN 1 WHEN 'Pound' THEN 0.45359237 END END AS kilograms
                FROM marts.food_prices_monthly)
            GROUP BY country_iso3, EXTRACT(YEAR FROM price_month) ORDER BY country, year""",
        totals_sql="""
            SELECT 'all ' || COUNT(DISTINCT country_iso3) || ' countries',
                'all ' || COUNT(DISTINCT EXTRACT(YEAR FROM price_month)) || ' years',
                SUM(prices), COUNT(DISTINCT commodity), NULL
            FROM marts.food_prices_monthly""",
    ),
    Answer(
        name="rejected_rows",
        title="Rows of raw that staging leaves out, by reason",
        mart="marts.rejected_rows",
        sql="""
            SELECT source, reason, COUNT(*) AS days, SUM(rows) AS rows
            FROM marts.rejected_rows GROUP BY source, reason ORDER BY SUM(rows) DESC, source, reason""",
        totals_sql="SELECT 'all sources', NULL, COUNT(DISTINCT day), SUM(rows) FROM marts.rejected_rows",
    ),
)


def answer_tables(connection: duckdb.DuckDBPyConnection) -> Iterator[Table]:
    """A terminal table an answer, from a connection whose current database is the lake."""
    for answer in ANSWERS:
        result = connection.execute(answer.sql)
        columns = [column[0] for column in result.description or ()]
        rows = result.fetchall()
        totals = connection.execute(answer.totals_sql).fetchall()[0]
        table = Table(
            title=answer.title,
            title_justify="left",
            caption=f"from {answer.mart}, {_row_count(connection, answer.mart):,} rows",
            caption_justify="left",
            show_footer=True,
            box=box.SIMPLE_HEAVY,  # narrow: no number may be cut in a terminal of 80 columns
        )
        for index, name in enumerate(columns):
            numeric = any(isinstance(row[index], int | float | Decimal) for row in (*rows, totals))
            table.add_column(name, footer=_text(totals[index]), justify="right" if numeric else "left", no_wrap=numeric)
        for row in rows:
            table.add_row(*map(_text, row))
        yield table


def _row_count(connection: duckdb.DuckDBPyConnection, mart: str) -> int:
    rows: list[tuple[int]] = connection.execute(f"SELECT COUNT(*) FROM {mart}").fetchall()
    return rows[0][0]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal | float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
