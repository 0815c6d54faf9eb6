"""Touched ranges come from what the lake says really changed."""

from contextlib import closing
from datetime import datetime

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.writing import touched
from lakehouse.writing.touched import Touched, changes_since, merged

DAY_1, DAY_2, DAY_9 = (datetime(2024, 1, day) for day in (1, 2, 9))


@pytest.fixture
def table(lake: Lake) -> str:
    with closing(lake.connect()) as connection:
        connection.execute("CREATE TABLE raw.trips (id INT, seen_at TIMESTAMP, note VARCHAR, _dlt_load_id VARCHAR)")
        connection.execute(
            "INSERT INTO raw.trips SELECT i, TIMESTAMP '2024-01-01' + INTERVAL (i) HOUR, 'x', '1' FROM range(240) t(i)"
        )
    return "raw.trips"


def changes(lake: Lake, *statements: str, event_time: str | None = "seen_at") -> Touched:
    before = lake.newest_snapshot()
    with closing(lake.connect()) as connection:
        for statement in statements:
            connection.execute(statement)
        return changes_since(connection, "raw.trips", event_time, before)


def test_inserted_changed_and_deleted_rows_touch_their_hours(lake: Lake, table: str) -> None:
    change = changes(
        lake,
        "INSERT INTO raw.trips VALUES (999, '2022-07-01 10:30:00', 'late', '2')",
        "UPDATE raw.trips SET note = 'y' WHERE id = 24",
        "DELETE FROM raw.trips WHERE id IN (100, 101)",
    )
    assert change.ranges == [
        (datetime(2022, 7, 1, 10), datetime(2022, 7, 1, 11)),
        (datetime(2024, 1, 2, 0), datetime(2024, 1, 2, 1)),
        (datetime(2024, 1, 5, 4), datetime(2024, 1, 5, 6)),
    ]
    assert (change.rows_inserted, change.rows_deleted) == (2, 3)


def test_a_row_that_moves_touches_where_it_was_and_where_it_is(lake: Lake, table: str) -> None:
    change = changes(lake, "UPDATE raw.trips SET seen_at = '2024-02-01' WHERE id = 0")
    assert [start for start, _ in change.ranges] == [DAY_1, datetime(2024, 2, 1)]


def test_rows_written_again_as_they_were_touch_nothing(lake: Lake, table: str) -> None:
    change = changes(
        lake,
        "BEGIN; CREATE TEMP TABLE copy AS SELECT * FROM raw.trips WHERE id < 50; DELETE FROM raw.trips WHERE id < 50;"
        "INSERT INTO raw.trips SELECT id, seen_at, note, 'a later load' FROM copy; COMMIT",
    )
    assert change.nothing
    assert change.ranges == []


def test_a_table_without_an_event_time_is_touched_as_a_whole(lake: Lake, table: str) -> None:
    assert changes(lake, "DELETE FROM raw.trips WHERE id = 5", event_time=None).ranges == [(None, None)]


def test_times_that_no_calendar_reaches_touch_its_first_and_last_hour(lake: Lake, table: str) -> None:
    times = (
        "9999-12-31 23:59:59",
        "10000-01-01 00:00:00",
        "0044-03-15 (BC) 10:00:00",
        "infinity",
        "0001-01-01 00:30:00",
    )
    change = changes(lake, *(f"INSERT INTO raw.trips VALUES (1, '{time}', 'never', '2')" for time in times))
    assert change.ranges == [
        (datetime.min, datetime(1, 1, 1, 1)),
        (datetime(9999, 12, 31, 23), datetime.max),
    ]
    assert change.rows_inserted == 5


def test_a_row_without_a_time_counts_but_touches_no_interval(lake: Lake, table: str) -> None:
    change = changes(lake, "INSERT INTO raw.trips VALUES (7, NULL, 'x', '2')")
    assert (change.rows_inserted, change.ranges) == (1, [])


def test_ranges_merge() -> None:
    assert merged([(DAY_2, DAY_9), (DAY_1, DAY_2)]) == [(DAY_1, DAY_9)]
    assert merged([(DAY_9, None), (DAY_1, DAY_2), (None, DAY_1)]) == [(None, DAY_2), (DAY_9, None)]
    assert merged([(None, None), (DAY_1, DAY_2)]) == [(None, None)]


def test_what_came_after_a_watermark_is_due_and_no_more(lake: Lake) -> None:
    with closing(connect(lake.settings)) as connection:
        for start, end in ((DAY_1, DAY_2), (DAY_2, DAY_9)):
            change = Touched("raw.trips", [(start, end)], 1, 0)
            touched.record(connection, change, pipeline="taxi", run="r", snapshot=1)
        touched.record(connection, Touched("raw.other", [(None, None)], 1, 0), pipeline="o", run="r", snapshot=1)
        assert touched.since(connection, ["raw.trips"], 0) == [(DAY_1, DAY_9)]
        assert touched.since(connection, ["raw.trips"], 1) == [(DAY_2, DAY_9)]
        assert touched.since(connection, ["raw.trips"], 2) is None
        assert touched.since(connection, ["raw.trips", "raw.other"], 2) == [(None, None)]
        assert touched.since(connection, [], 0) is None


def test_a_table_that_was_made_meanwhile_is_looked_at_from_then_on(lake: Lake) -> None:
    before = lake.newest_snapshot()
    with closing(lake.connect()) as connection:
        connection.execute("CREATE TABLE raw.others (id INT)")
        assert changes_since(connection, "raw.trips", "seen_at", before).nothing, "it is not there yet"
        connection.execute("CREATE TABLE raw.trips (id INT, seen_at TIMESTAMP)")
        connection.execute("INSERT INTO raw.trips VALUES (1, '2024-01-02')")
        change = changes_since(connection, "raw.trips", "seen_at", before)
    assert (change.rows_inserted, change.ranges) == (1, [(DAY_2, DAY_2.replace(hour=1))])


def test_a_table_that_was_made_anew_is_touched_as_a_whole(lake: Lake, table: str) -> None:
    """The feed tells the new table's inserts only, and nothing of the days that went with the old one."""
    anew = "CREATE OR REPLACE TABLE raw.trips AS FROM raw.trips WHERE id < 24"
    assert changes(lake, anew).ranges == [(None, None)]
    emptied = "ALTER TABLE raw.trips DROP COLUMN note", "ALTER TABLE raw.trips ADD COLUMN note VARCHAR"
    assert changes(lake, *emptied).ranges == [(None, None)]
    assert changes(lake, "ALTER TABLE raw.trips ADD COLUMN more VARCHAR").nothing
