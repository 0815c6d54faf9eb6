"""Collisions arrive whole, once, and as the portal has them, whatever happens while they are read."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from dlt_sources.nyc_collisions import COLUMNS
from lakehouse.demo.portal import RunningPortal, serve
from lakehouse.demo.portal_faults import CutConnection, Meanwhile, NotJson, ShortPage, Status
from tests.dlt_sources.loading import Loader, portal_count

COUNT = "SELECT count(*) FROM raw.nyc_collisions__crashes"
DISTINCT = "SELECT count(*), count(DISTINCT collision_id) FROM raw.nyc_collisions__crashes"


def crash(number: int, day: str = "2024-03-01") -> dict[str, str]:
    return {"collision_id": str(number), "crash_date": f"{day}T00:00:00.000", "borough": "QUEENS"}


def first_ids(loader: Loader, count: int) -> list[str]:
    """The first in the order of reading."""
    sql = f"SELECT collision_id FROM raw.nyc_collisions__crashes ORDER BY portal_updated_at, portal_id LIMIT {count}"
    return [collision_id for (collision_id,) in loader.rows(sql)]


def differing(loader: Loader, source: Path) -> int:
    """How many rows of the lake the file does not have."""
    fields = ", ".join(COLUMNS)
    difference = f"(SELECT {fields} FROM raw.nyc_collisions__crashes EXCEPT ALL SELECT {fields} FROM '{source}')"
    return int(loader.value(f"SELECT count(*) FROM {difference}"))


@pytest.mark.slow
@pytest.mark.proof  # 300 of them do each time
def test_all_real_collisions_arrive_every_value_as_it_is(loader: Loader, shared_data: Path) -> None:
    source = shared_data / "collisions" / "collisions_soda_strings.parquet"
    with serve(source) as portal:
        report = loader.load_collisions(portal)
        assert report.rows == 87_866
        assert loader.rows(DISTINCT) == [(87_866, 87_866)]
        assert portal_count(portal) == 87_866
    assert differing(loader, source) == 0


def test_every_value_arrives_as_it_is_and_a_second_load_asks_only_for_what_changed(
    loader: Loader, portal: RunningPortal, few_collisions: Path
) -> None:
    assert loader.load_collisions(portal).rows == 300
    assert differing(loader, few_collisions) == 0
    before = loader.lake.newest_snapshot()
    assert loader.load_collisions(portal).rows == 0
    assert loader.lake.newest_snapshot() == before, "nothing new writes nothing"
    changed = first_ids(loader, 1)[0]
    portal.rows.change(changed, borough="ATLANTIS")
    portal.rows.insert([crash(1)])
    assert loader.load_collisions(portal).rows == 2
    assert loader.rows(DISTINCT) == [(301, 301)]
    found = loader.rows(f"SELECT borough FROM raw.nyc_collisions__crashes WHERE collision_id = '{changed}'")
    assert found == [("ATLANTIS",)]


@pytest.mark.slow
def test_rows_inserted_and_changed_while_pages_are_read_are_neither_missed_nor_doubled(
    loader: Loader, portal: RunningPortal
) -> None:
    def meanwhile() -> None:
        # Changed: one that has been read, and one that hasn't. In the order of reading both move to the end.
        portal.rows.change(read, borough="ATLANTIS")
        portal.rows.change(unread, borough="LEMURIA")
        portal.rows.insert([crash(1), crash(2)])

    rows = portal.rows.query({"select": "collision_id", "order": ":updated_at,:id"}, 300, 0).rows
    read, unread = rows[5].split('"')[3], rows[250].split('"')[3]
    portal.faults.order(None, Meanwhile(meanwhile))
    loader.load_collisions(portal, page_rows=100)
    assert loader.rows(DISTINCT) == [(302, 302)]
    changed = "SELECT borough FROM raw.nyc_collisions__crashes WHERE collision_id IN ('{}', '{}') ORDER BY 1"
    assert loader.rows(changed.format(read, unread)) == [("ATLANTIS",), ("LEMURIA",)]
    assert portal_count(portal) == 302


@pytest.mark.slow
def test_a_row_that_shows_up_late_with_an_earlier_time_is_not_missed_and_a_deletion_shows_as_a_difference(
    loader: Loader, portal: RunningPortal
) -> None:
    loader.load_collisions(portal)
    newest = portal.rows.query({"select": ":updated_at", "order": ":updated_at desc"}, 1, 0).rows[0].split('"')[3]
    portal.rows.insert([{**crash(1), ":id": "row-0000"}], updated_at=newest)
    loader.load_collisions(portal)
    assert loader.rows(DISTINCT) == [(301, 301)]
    portal.rows.delete(first_ids(loader, 1)[0])
    assert loader.load_collisions(portal).rows == 0
    assert loader.value(COUNT) - portal_count(portal) == 1


@pytest.mark.slow
def test_every_fault_in_one_load_and_still_every_row(loader: Loader, portal: RunningPortal) -> None:
    faults = [Status(202), Status(429), ShortPage(7), CutConnection(), None, Status(500), NotJson(), ShortPage(1)]
    portal.faults.order(*faults)
    report = loader.load_collisions(portal, page_rows=100, app_token="wrong")
    assert portal.faults.pending == 0
    assert loader.rows(DISTINCT) == [(300, 300)]
    assert "refused the app token" in report.warnings[0]


@pytest.mark.slow
def test_a_field_added_reaches_the_table_and_one_dropped_becomes_null(loader: Loader, portal: RunningPortal) -> None:
    loader.load_collisions(portal)
    portal.rows.add_column("weather", "rain")
    portal.rows.drop_column("zip_code")
    assert loader.load_collisions(portal).rows == 300
    assert loader.rows("SELECT weather, zip_code, count(*) FROM raw.nyc_collisions__crashes GROUP BY ALL") == [
        ("rain", None, 300)
    ]


@pytest.mark.slow
def test_a_portal_that_is_down_leaves_the_table_as_it_is_and_says_why(loader: Loader, portal: RunningPortal) -> None:
    loader.load_collisions(portal)
    before = loader.lake.newest_snapshot()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(PipelineStepFailed, match=f"{address}.*gave no rows in 3 attempts"):
            loader.load_collisions(address)
    assert loader.lake.newest_snapshot() == before
    assert loader.load_collisions(portal).rows == 0, "and no progress was noted"


@pytest.mark.slow
def test_a_load_that_breaks_off_in_the_middle_loads_nothing_and_the_next_one_all(
    loader: Loader, portal: RunningPortal
) -> None:
    portal.faults.order(None, None, Status(404))
    with pytest.raises(PipelineStepFailed):
        loader.load_collisions(portal, page_rows=100)
    assert loader.load_collisions(portal, page_rows=100).rows == 300
    assert loader.rows(DISTINCT) == [(300, 300)]


@pytest.mark.slow
def test_a_wider_window_fetches_what_the_narrower_one_left_out(loader: Loader, portal: RunningPortal) -> None:
    dates = portal.rows.query({"select": "crash_date", "order": "crash_date"}, 300, 0).rows
    middle = dates[200].split('"')[3][:10]
    wanted = portal_count(portal, since=middle)
    assert 0 < wanted < 300
    loader.load_collisions(portal, since=middle)
    assert loader.value(COUNT) == wanted
    loader.load_collisions(portal)
    assert loader.rows(DISTINCT) == [(300, 300)]


def test_the_table_is_declared_field_by_field_in_the_portals_order(portal: RunningPortal) -> None:
    fields = [name for name in portal.rows.types if not name.startswith(":")]
    assert list(COLUMNS) == fields
