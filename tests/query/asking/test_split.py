"""A question over many days, split: the same answer as in one go, from one release, or none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from lakehouse.query.client import Client, LakehouseClient
from lakehouse.query.client.local import LocalClient
from lakehouse.query.client.result import Result
from lakehouse.query.client.split import parse_days
from lakehouse.query.engine.problems import QueryError
from lakehouse.settings import Settings

DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(10)]


@pytest.fixture(scope="module", params=["http", "local"])
def client(request: pytest.FixtureRequest, released: Settings) -> Iterator[Client]:
    """Both ways to ask."""
    made = (
        LakehouseClient(request.getfixturevalue("service_url"))
        if request.param == "http"
        else LocalClient(released, workers=2)
    )
    with made as client:
        yield client


def test_a_split_total_is_the_total_in_one_go(client: Client) -> None:
    totals = "count(*) AS n, sum(fare) AS fare, min(id) AS first"
    whole = client.query(f"SELECT {totals} FROM marts.trips WHERE d BETWEEN '2024-01-01' AND '2024-01-10'")
    split = client.query_by_day(
        f"SELECT {totals} FROM marts.trips WHERE d = $day", DAYS,
        combine="SELECT sum(n) AS n, sum(fare) AS fare, min(first) AS first FROM parts",
    )  # fmt: skip
    assert split.arrow().to_pylist() == whole.arrow().to_pylist()
    assert (split.release, split.environment, split.rows, split.cut) == (2, "prod", 1, "")
    assert split.execution_ms > 0


def test_without_combining_all_rows_come_in_the_order_of_the_days(client: Client) -> None:
    split = client.query_by_day("SELECT d, id FROM marts.trips WHERE d = $day ORDER BY id", DAYS, at_once=3)
    whole = client.query("SELECT d, id FROM marts.trips ORDER BY d, id")
    assert split.arrow().to_pylist() == whole.arrow().to_pylist()
    assert split.columns == whole.columns


def test_a_day_that_is_named_twice_counts_once_and_one_without_rows_is_no_mistake(client: Client) -> None:
    split = client.query_by_day(
        "SELECT count(*) AS n FROM marts.trips WHERE d = $day",
        ["2024-01-10", date(2024, 1, 10), "2031-05-05"],
        combine="SELECT sum(n) AS n, count(*) AS days FROM parts",
    )
    assert split.arrow().to_pylist() == [{"n": 101, "days": 2}]


def test_what_travels_as_text_is_combined_as_what_it_was(client: Client) -> None:
    split = client.query_by_day(
        "SELECT max(lasted) AS lasted, sum(id) AS ids FROM marts.trips WHERE d = $day", DAYS,
        combine="SELECT max(lasted) AS lasted, typeof(any_value(ids)) AS kind FROM parts",
    )  # fmt: skip
    # As text, '3 days' is more than '1 month'.
    assert split.arrow().to_pylist() == [{"lasted": "1 month", "kind": "HUGEINT"}]


def test_all_days_come_from_one_release_whatever_is_published_meanwhile(client: Client) -> None:
    asked: list[int | None] = []

    class Watched(Client):
        open = client.open  # type: ignore[assignment]
        close = client.close

        def newest(self, environment: str | None = None) -> int:
            # A release comes out right after it was asked for.
            return 1

        def query(self, sql: str, **options: Any) -> Result:
            asked.append(options["release"])
            return client.query(sql, **options)

    sql = "SELECT count(*) AS n FROM marts.trips WHERE d = $day"
    split = Watched().query_by_day(sql, DAYS, combine="SELECT sum(n) AS n FROM parts")
    assert (split.release, split.arrow()["n"].to_pylist()) == (1, [1000])
    assert asked == [1] * 10


def test_a_total_over_a_cut_part_is_refused(client: Client) -> None:
    with pytest.raises(QueryError, match="was cut at its limit of rows, after 100 rows"):
        client.query_by_day("SELECT id FROM marts.trips WHERE d = $day", DAYS, limit=100)


def test_a_day_that_fails_fails_the_question(client: Client) -> None:
    sql = "SELECT CASE WHEN $day = '2024-01-05' THEN error('no such day') END AS n"
    with pytest.raises(QueryError):
        client.query_by_day(sql, DAYS)


@pytest.mark.parametrize(
    ("combine", "sentence"),
    [
        ("SELECT nothing FROM parts", "combining statement failed"),
        ("CREATE TABLE x (i INTEGER)", "one SELECT over the table parts"),
        ("FROM read_csv('/etc/passwd')", "disabled"),
    ],
)
def test_what_combines_is_a_select_over_parts(client: Client, combine: str, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        client.query_by_day("SELECT count(*) AS n FROM marts.trips WHERE d = $day", DAYS[:1], combine=combine)


def test_sql_must_name_its_day_and_a_day_must_be_given(client: Client) -> None:
    with pytest.raises(QueryError, match=r"write \$day"):
        client.query_by_day("SELECT count(*) AS n FROM marts.trips", DAYS)
    with pytest.raises(QueryError, match="No day is named"):
        client.query_by_day("SELECT $day AS day", [])


def test_days_are_ranges_with_both_ends_or_single() -> None:
    assert parse_days("2024-02-28..2024-03-01") == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert parse_days("2024-01-01, 2024-01-03") == [date(2024, 1, 1), date(2024, 1, 3)]
    for wrong in ("", "yesterday", "2024-01-02..2024-01-01", "2024-02-30", "2024-01-01..x"):
        with pytest.raises(QueryError):
            parse_days(wrong)
