"""`lakehouse query`: people read tables, programs read JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from tests.lakehouse_instance import LakehouseInstance

SQL = "SELECT event_date, unique_users, total_revenue, NULL AS nothing FROM marts.daily_revenue_example ORDER BY 1"


@pytest.mark.slow
def test_json_is_an_array_of_records_and_nothing_else(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("query", "--format", "json", SQL)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [
        {"event_date": "2024-01-01", "unique_users": 2, "total_revenue": 29.99, "nothing": None},
        {"event_date": "2024-01-02", "unique_users": 1, "total_revenue": 29.99, "nothing": None},
    ]


def test_json_of_no_rows_is_an_empty_array(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("query", "-f", "json", "FROM marts.daily_revenue_example WHERE false")
    assert json.loads(done.stdout) == []


def test_csv_has_a_header_and_empty_fields_for_null(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("query", "--format", "csv", SQL)
    assert list(csv.reader(io.StringIO(done.stdout))) == [
        ["event_date", "unique_users", "total_revenue", "nothing"],
        ["2024-01-01", "2", "29.99", ""],
        ["2024-01-02", "1", "29.99", ""],
    ]


@pytest.mark.slow
def test_a_table_says_how_many_rows_it_shows(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("query", "--limit", "3", "FROM marts.top_pickup_locations")
    assert done.returncode == 0
    assert "the first 3 rows" in done.stdout
    whole = demo_lakehouse.command("query", SQL)
    assert "2 rows" in whole.stdout
    assert "NULL" in whole.stdout


def test_wrong_sql_is_the_callers_mistake_in_one_sentence(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("query", "-f", "json", "SELECT no_such_column FROM marts.daily_revenue")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no_such_column" in done.stderr


def test_two_statements_are_refused(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("query", "SELECT 1; SELECT 2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "One statement is wanted, 2 were given." in done.stderr


@pytest.mark.slow
def test_a_query_can_not_write(demo_lakehouse: LakehouseInstance) -> None:
    before = demo_lakehouse.value("SELECT COUNT(*) FROM marts.daily_revenue")
    for options in ([], ["--head"]):
        done = demo_lakehouse.command("query", *options, "DELETE FROM marts.daily_revenue")
        assert done.returncode in (1, 2)
        assert re.search("Only a SELECT is answered|One SELECT is wanted", done.stderr)
    assert demo_lakehouse.value("SELECT COUNT(*) FROM marts.daily_revenue") == before


def test_a_release_shows_what_is_served_and_the_head_everything(demo_lakehouse: LakehouseInstance) -> None:
    raw = "SELECT count(*) AS n FROM raw.ecommerce__events"
    assert demo_lakehouse.command("query", raw).returncode == 1
    done = demo_lakehouse.command("query", "--head", "-f", "json", raw)
    assert json.loads(done.stdout)[0]["n"] == demo_lakehouse.value("SELECT count(*) FROM raw.ecommerce__events")
    assert re.search(r"release \d+ of prod", demo_lakehouse.command("query", "SELECT 1 AS one").stdout)
