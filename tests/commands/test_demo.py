"""`lakehouse demo`, as `make demo` runs it, on its own sample of every feed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lakehouse_instance import LakehouseInstance


def stamps(lakehouse: LakehouseInstance) -> dict[str, Any]:
    """When each mart that says so was computed: the oldest and the newest row, and how many there are."""
    stamped = lakehouse.rows(
        "SELECT table_name FROM duckdb_columns() WHERE schema_name = 'marts' AND column_name = 'computed_at'"
    )
    assert len(stamped) >= 4
    return {
        mart: lakehouse.rows(f"SELECT MIN(computed_at), MAX(computed_at), COUNT(*) FROM marts.{mart}")
        for (mart,) in stamped
    }


def physical_table(lakehouse: LakehouseInstance, view: str) -> str:
    """The table behind a model's view."""
    (sql,) = lakehouse.rows(f"SELECT sql FROM duckdb_views() WHERE schema_name || '.' || view_name = '{view}'")[0]
    return str(sql).rsplit(" FROM ", 1)[1].rstrip(" ;")


def test_the_demo_prints_answers_timings_and_what_to_type_next(demo_lakehouse: LakehouseInstance) -> None:
    printed = (demo_lakehouse.root / "demo.txt").read_text()
    for wanted in ("Daily revenue", "by borough", "most pick-ups", "Food prices", "How long it took", "make up"):
        assert wanted in printed
    assert "marts.rejected_rows" in printed
    assert "No release was cut" not in printed, "what is not there yet is no fault"


def test_what_the_demo_prints_fits_80_columns(demo_lakehouse: LakehouseInstance) -> None:
    lines = (demo_lakehouse.root / "demo.txt").read_text().splitlines()
    assert [line for line in lines if len(line.rstrip()) > 80] == []
    assert [line for line in lines if "…" in line] == [], "a cell was cut"


@pytest.mark.proof
def test_a_second_demo_loads_and_computes_nothing(demo_at_rest: LakehouseInstance) -> None:
    loads = "SELECT COUNT(*) FROM raw._dlt_loads"
    before, loaded = stamps(demo_at_rest), demo_at_rest.value(loads)
    again = demo_at_rest.lakehouse("demo")
    assert again.returncode == 0, again.stdout + again.stderr
    assert stamps(demo_at_rest) == before
    assert demo_at_rest.value(loads) == loaded


@pytest.mark.proof
def test_a_mart_that_somebody_emptied_is_filled_again(demo_at_rest: LakehouseInstance) -> None:
    rows = demo_at_rest.value("SELECT COUNT(*) FROM marts.food_prices_monthly")
    with demo_at_rest.lake.connect() as connection:
        connection.execute(f"DELETE FROM {physical_table(demo_at_rest, 'marts.food_prices_monthly')}")
    done = demo_at_rest.lakehouse("demo")
    assert done.returncode == 0, done.stderr
    assert demo_at_rest.value("SELECT COUNT(*) FROM marts.food_prices_monthly") == rows


@pytest.mark.proof
def test_ingestion_goes_on_where_the_demo_ended(demo_at_rest: LakehouseInstance) -> None:
    rows = "SELECT COUNT(*) FROM raw.nyc_collisions__crashes"
    loaded = demo_at_rest.value(rows)
    done = demo_at_rest.activated("dagster job execute -j ingest")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert demo_at_rest.value(rows) == loaded > 0


def test_another_feed_over_the_same_lake_is_refused(demo_lakehouse: LakehouseInstance, tmp_path: Path) -> None:
    done = demo_lakehouse.command("demo", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "holds the feed 'sample'" in done.stderr
    assert "LAKEHOUSE_DATA_DIR" in done.stderr


@pytest.mark.slow
def test_a_data_folder_without_files_is_named_and_spoils_nothing(
    new_lakehouse: Callable[[], LakehouseInstance], tmp_path: Path, database_url: str
) -> None:
    lakehouse = new_lakehouse()
    done = lakehouse.command("demo", "--data", str(tmp_path), postgres_url=database_url)
    assert done.returncode == 1
    assert f"No file matches {tmp_path}" in done.stderr.replace("\n", "")
    assert not (lakehouse.data_dir / "demo.json").exists(), "the next demo would be refused as another feed"
