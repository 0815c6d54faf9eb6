"""A correction of a large file loads within the memory that DuckDB may have; what has less says so."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tests.landing.conftest import LandingHouse

pytestmark = pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)


@pytest.fixture
def memory_limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """LAKEHOUSE_MEMORY_LIMIT, before anything reads it."""
    monkeypatch.setenv("LAKEHOUSE_MEMORY_LIMIT", request.param)
    return str(request.param)


def events(path: Path, rows: int, added: int) -> Path:
    """A Parquet file of that many shop events."""
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.execute(
        f"""
        COPY (
            SELECT i AS event_id, i % 50000 AS user_id, 'purchase' AS event_type,
                TIMESTAMP '2024-01-01' + to_seconds(i * 5) AS event_timestamp,
                (i % 1000 + {added})::DECIMAL(12, 2) AS revenue, 'INV' || i AS invoice, 'SKU' || i % 3000 AS sku,
                'France' AS country
            FROM range({rows}) AS r(i)
        ) TO '{path}' (FORMAT parquet)
        """
    )
    return path


@pytest.mark.proof
@pytest.mark.parametrize("memory_limit", ["1GB"], indirect=True)
def test_six_million_corrected_rows_load_within_the_default(memory_limit: str, house: LandingHouse) -> None:
    sums = []
    for added in (0, 1):
        house.upload(events(house.desk / "events.parquet", 6_000_000, added))
        house.load()
        sums += house.rows("SELECT count(*), sum(revenue)::BIGINT FROM raw.ecommerce__events")
    assert sums == [(6_000_000, 2_997_000_000), (6_000_000, 3_003_000_000)]


@pytest.mark.slow
def test_a_load_without_memory_says_what_to_set_and_leaves_no_mark(
    house: LandingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("dlt's own") from duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block")

    monkeypatch.setattr("dlt.Pipeline.load", full)
    house.upload(events(house.desk / "events.parquet", 10, 0))
    loaded = house.load(raise_on_error=False)
    (failure,) = [event for event in loaded.all_events if event.is_step_failure]
    told = str(failure.step_failure_data.user_failure_data)
    assert "needs more memory than LAKEHOUSE_MEMORY_LIMIT (1GB) lets DuckDB have. Raise it" in told
    assert house.marks() == []
