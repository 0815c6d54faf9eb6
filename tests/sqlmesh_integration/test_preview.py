"""The plot on an asset's page, and which column it shows."""

from __future__ import annotations

import base64
import math
import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlmesh.core.dialect import parse
from sqlmesh.core.model import load_sql_based_model

from lakehouse_assets.sqlmesh_integration.preview import image, likely_measure

JANUARY = date(2024, 1, 1)


def svg(points: list[tuple[Any, float]], *, is_line: bool = True) -> str:
    drawn = image(points, "revenue by day", is_line=is_line)
    assert drawn is not None
    assert len(drawn) < 12_000
    (encoded,) = re.findall(r"^!\[revenue by day\]\(data:image/svg\+xml;base64,(.*)\)$", drawn)
    return base64.b64decode(encoded).decode()


def days(count: int) -> list[tuple[Any, float]]:
    return [(JANUARY + timedelta(days=number), 10.0 * number + 1) for number in range(count)]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_few_days_are_a_line_with_each_day_on_its_axis(count: int) -> None:
    drawn = svg(days(count))
    assert "<path" in drawn
    assert sorted(re.findall(r"2024-01-\d\d", drawn)) == [f"2024-01-{number:02}" for number in range(1, count + 1)]


def test_a_year_is_a_line_with_five_days_on_its_axis() -> None:
    shown = sorted(re.findall(r"\d{4}-\d\d-\d\d", svg(days(366))))
    assert len(shown) == 5
    assert (shown[0], shown[-1]) == ("2024-01-01", "2024-12-31")


def test_one_day_is_a_bar() -> None:
    drawn = svg(days(1))
    assert "<path" not in drawn
    assert "<rect" in drawn
    assert "2024-01-01" in drawn


def test_hours_say_the_hour_and_zones_do_not_matter() -> None:
    zone = timezone(timedelta(hours=2))
    drawn = svg([(datetime(2024, 1, 1, 10, tzinfo=zone), 1.0), (datetime(2024, 1, 1, 12, tzinfo=zone), 2.0)])
    assert "01-01 08:00" in drawn
    assert "01-01 10:00" in drawn


def test_groups_are_bars_with_their_names() -> None:
    drawn = svg([("BRONX", 3.0), ("QUEENS", 5.0)], is_line=False)
    assert "BRONX" in drawn and "QUEENS" in drawn


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_left_out(value: float) -> None:
    drawn = svg([*days(2), (date(2024, 1, 3), value)])
    assert "2024-01-02" in drawn
    assert "2024-01-03" not in drawn
    assert image([(JANUARY, value)], "revenue by day", is_line=True) is None


def test_no_points_are_no_plot() -> None:
    assert image([], "revenue by day", is_line=True) is None


def test_days_that_are_all_the_same_are_drawn_too() -> None:
    assert "<path" in svg([(JANUARY, 0.0), (date(2024, 1, 2), 0.0)])


@pytest.mark.parametrize(
    ("columns", "measure"),
    [
        ("1::BIGINT AS unique_users, 1::BIGINT AS purchases, 1::DECIMAL(18, 2) AS total_revenue", "total_revenue"),
        ("1::BIGINT AS trips, 1::DOUBLE AS average_tip_usd", "trips"),
        ("1::BIGINT AS prices, 1::DECIMAL(14, 2) AS lowest_price_usd", "prices"),
        ("1::BIGINT AS zone_id, 1::BIGINT AS position, 1::BIGINT AS trips", "trips"),
        ("1::DOUBLE AS growth_rate", "growth_rate"),
        ("'a'::TEXT AS borough", None),
    ],
)
def test_the_measure_is_an_amount_else_a_count_and_no_key(columns: str, measure: str | None) -> None:
    audits = "audits (unique_values(columns := (position)))"
    text = f"MODEL (name a.b, kind FULL, grain day, {audits}); SELECT DATE '2024-01-01' AS day, {columns}"
    model = load_sql_based_model(parse(text, default_dialect="duckdb"), dialect="duckdb")
    assert likely_measure(model) == measure
