"""From a file on somebody's disk to an answer for a reader, with no hand on it in between: on a folder and on S3."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import running_services, until

SQL = "SELECT sum(total_revenue)::DOUBLE AS revenue, count(*) AS days FROM marts.daily_revenue"


def events(path: Path, first: int, days: int, revenue: int) -> None:
    """A file of one purchase an hour."""
    duckdb.sql(
        f"""
        COPY (
            SELECT ({first} + i)::INT AS event_id, i % 7 AS user_id, 'purchase' AS event_type,
                TIMESTAMP '2024-05-01' + INTERVAL (i) HOUR AS event_timestamp, {revenue}::DECIMAL(12, 2) AS revenue,
                'i' AS invoice, 's' AS sku, 'UK' AS country
            FROM range({days} * 24) t(i)
        ) TO '{path}' (FORMAT parquet)
        """
    )


@pytest.mark.proof
def test_a_file_that_lands_is_loaded_computed_checked_and_released(
    new_lakehouse: Callable[[], LakehouseInstance], storage_environment: dict[str, str], tmp_path: Path
) -> None:
    lakehouse = replace(new_lakehouse(), extra=storage_environment)

    def run(*arguments: str) -> str:
        done = lakehouse.lakehouse(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answer(*options: str) -> list[dict[str, object]]:
        done = lakehouse.lakehouse("query", "-f", "json", *options, SQL)
        found: list[dict[str, object]] = json.loads(done.stdout) if done.returncode == 0 else []
        return found

    run("bootstrap")
    run("deploy", "prod", "--yes", "--no-backfill")
    file = tmp_path / "shop_events_may.parquet"
    with running_services(lakehouse) as services:
        events(file, 1, days=3, revenue=2)
        assert "1 uploaded" in run("upload", str(file), "--dataset", "ecommerce")
        wanted = [{"revenue": 144.0, "days": 3}]
        until(lambda: answer() == wanted, 300, lambda: f"{answer()} {services.unfinished_runs()}")

        # The file is replaced: exactly its own rows are, and readers follow.
        events(file, 1, days=2, revenue=5)
        run("upload", str(file), "--dataset", "ecommerce")
        wanted = [{"revenue": 240.0, "days": 2}]
        until(lambda: answer() == wanted, 300, lambda: f"{answer()} {services.unfinished_runs()}")
        assert answer("--release", "1") == [{"revenue": 144.0, "days": 3}]

        # Rolled back, and held.
        said = run("rollback", "prod", "--to", "1")
        assert "held there" in said
        assert answer() == [{"revenue": 144.0, "days": 3}]
        assert "held at 1 by" in run("status")
        assert "get release 2, the newest" in run("release", "resume", "prod")
        assert answer() == wanted
    listed = json.loads(run("releases", "--json"))
    assert [(one["release"], one["current"]) for one in listed] == [(2, True), (1, False)]
