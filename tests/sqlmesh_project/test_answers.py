"""What the demo shows at its end, and that its checks can fail."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lakehouse.demo.answers import ANSWERS, answer_tables
from tests.sqlmesh_project.totals import TOTALS, compare


def test_every_answer_has_rows_totals_and_the_marts_row_count(real):
    console = Console(width=140, file=io.StringIO())
    with real.lake.connect(read_only=True) as connection:
        tables = list(answer_tables(connection))
        for table in tables:
            console.print(table)
    assert [table.title for table in tables] == [answer.title for answer in ANSWERS]
    assert all(table.row_count for table in tables)
    shown = console.file.getvalue()
    assert "10,169,339.99" in shown  # pounds sold, over all days
    assert "28,086" in shown  # collisions without a borough
    assert "from marts.top_pickup_locations, 200 rows" in shown


@pytest.mark.parametrize("check", TOTALS, ids=lambda check: check.mart)
def test_a_check_fails_when_one_row_of_the_mart_is_missing(sample, check):
    one_less = replace(check, mart_sql=check.mart_sql.replace(check.mart, f"(SELECT * FROM {check.mart} OFFSET 1)"))
    with sample.lake.connect(read_only=True) as connection:
        [comparison] = compare(connection, (one_less,))
    assert f"{check.mart} and raw disagree" in comparison.problem


@pytest.mark.slow
def test_a_mart_without_rows_is_a_problem(deployed_empty):
    with deployed_empty.lake.connect(read_only=True) as connection:
        problems = {comparison.check.mart: comparison.problem for comparison in compare(connection)}
    assert "has no rows" in problems.pop("marts.daily_revenue")
    assert problems.pop("marts.daily_revenue_example") == ""
    assert all("has no rows" in problem for problem in problems.values())


def test_a_mart_that_was_never_deployed_is_a_problem(empty):
    with empty.lake.connect(read_only=True) as connection:
        comparisons = compare(connection)
    assert all("is not there" in comparison.problem for comparison in comparisons)
