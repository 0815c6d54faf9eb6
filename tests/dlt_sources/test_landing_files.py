"""Landed files become raw rows: all of them, once, and as they are."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from dlt_sources.datasets import dataset, ecommerce, nyc_taxi, wfp_food_prices
from dlt_sources.landing import resource as landing_files
from dlt_sources.landing.landed import LandedFile
from tests.dlt_sources.loading import Landing, Loader

Landings = Callable[[str], Landing]
EVENTS = "event_id,user_id,event_type,event_timestamp,revenue,invoice,sku,country\n"
TRIPS = "pickup_datetime,dropoff_datetime,pickup_location_id,total_amount\n"
COUNT_TRIPS = "SELECT count(*) FROM raw.nyc_taxi__trips"


def event(number: int, revenue: str = "1.00") -> str:
    return f"{number},7,purchase,2024-01-01 10:00:00,{revenue},A1,S1,France\n"


@pytest.mark.parametrize(
    ("months", "count"),
    [("yellow_tripdata_sample_2019-0[12].csv", 2), pytest.param("yellow_*.csv", 24, marks=pytest.mark.proof)],
)
def test_all_taxi_months_arrive_those_with_mixed_line_ends_too(
    loader: Loader, landing: Landings, shared_data: Path, months: str, count: int
) -> None:
    trips = landing("nyc_taxi")
    files = [trips.copy(path) for path in sorted((shared_data / "taxi").glob(months))]
    assert len(files) == count
    report = loader.load_files(nyc_taxi, files)
    assert report.failures == []
    assert set(report.loaded.values()) == {10_000}
    by_file = loader.rows(
        "SELECT source_file, count(*), min(source_row), max(source_row), count(DISTINCT source_row)"
        " FROM raw.nyc_taxi__trips GROUP BY ALL"
    )
    assert {row[1:] for row in by_file} == {(10_000, 1, 10_000, 10_000)}
    mixed = "yellow_tripdata_sample_2019-01.csv"
    with (shared_data / "taxi" / mixed).open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    found = loader.rows(
        f"SELECT pickup_datetime, total_amount, congestion_surcharge FROM raw.nyc_taxi__trips"
        f" WHERE source_file = '{mixed}' AND source_row = 10000"
    )
    assert found == [
        (
            datetime.fromisoformat(last["pickup_datetime"]),
            float(last["total_amount"]),
            float(last["congestion_surcharge"]),
        )
    ]


@pytest.mark.slow
@pytest.mark.proof  # half a million rows
def test_real_events_and_prices_arrive_with_their_totals(loader: Loader, landing: Landings, shared_data: Path) -> None:
    events = landing("ecommerce").copy(shared_data / "ecommerce" / "ecommerce_events_2009_2010.parquet")
    prices = landing("wfp_food_prices")
    years = [prices.copy(path) for path in sorted((shared_data / "humanitarian").glob("wfp_food_prices_*.csv"))]
    loader.load_files(ecommerce, [events])
    report = loader.load_files(wfp_food_prices, years)
    assert list(report.loaded.values()) == [16_324, 18_041, 25_588]
    assert loader.rows(
        f"SELECT count(*), sum(revenue) = (SELECT sum(revenue) FROM '{events.uri}') FROM raw.ecommerce__events"
    ) == [(525_461, True)]
    assert loader.rows("SELECT count(*), count(DISTINCT year(date)) FROM raw.wfp_food_prices__prices") == [(59_953, 3)]


def test_loading_a_file_again_or_one_that_was_only_touched_changes_nothing(loader: Loader, landing: Landings) -> None:
    file = landing("ecommerce").write("events.csv", EVENTS + event(1) + event(2))
    loader.load_files(ecommerce, [file])
    before = loader.lake.newest_snapshot()
    rows = loader.rows("FROM raw.ecommerce__events ORDER BY ALL")
    assert loader.load_files(ecommerce, [file]).unchanged == {"events.csv": 2}
    assert loader.lake.newest_snapshot() == before, "and writes nothing"
    touched = LandedFile(file.key, file.uri, "another etag")
    assert loader.load_files(ecommerce, [touched]).unchanged == {"events.csv": 2}
    assert loader.rows("FROM raw.ecommerce__events ORDER BY ALL") == rows


def test_a_changed_file_replaces_exactly_its_own_rows_at_once(loader: Loader, landing: Landings) -> None:
    events = landing("ecommerce")
    other = events.write("other_events.csv", EVENTS + event(1) * 3)
    first = events.write("events.csv", EVENTS + "".join(event(number) for number in range(30)))
    loader.load_files(ecommerce, [other, first])
    kept = loader.rows("FROM raw.ecommerce__events WHERE source_file = 'other_events.csv' ORDER BY source_row")
    assert [row[:1] for row in kept] == [(1,)] * 3, "exact duplicates inside a file are kept"
    second = events.write("events.csv", EVENTS + "".join(event(number) for number in range(100, 140)))
    loader.load_files(ecommerce, [other, second])
    now = loader.rows("SELECT event_id FROM raw.ecommerce__events WHERE source_file = 'events.csv' ORDER BY 1")
    assert now == [(number,) for number in range(100, 140)]
    assert loader.rows("FROM raw.ecommerce__events WHERE source_file = 'other_events.csv' ORDER BY source_row") == kept
    # No reader ever sees half a file.
    counts = []
    for snapshot in range(1, loader.lake.newest_snapshot() + 1):
        with contextlib.suppress(duckdb.CatalogException):  # not there yet
            counts.append(loader.value(f"SELECT count(*) FROM raw.ecommerce__events AT (VERSION => {snapshot})"))
    assert counts == sorted(counts)
    assert set(counts) == {0, 33, 43}
    # Every row says which load it came from.
    confirmed = loader.rows(
        "SELECT DISTINCT e.source_file, l.status FROM raw.ecommerce__events AS e"
        " JOIN raw._dlt_loads AS l ON l.load_id = e._dlt_load_id ORDER BY 1"
    )
    assert confirmed == [("events.csv", 0), ("other_events.csv", 0)]
    assert loader.value("SELECT count(DISTINCT _dlt_load_id) FROM raw.ecommerce__events") == 2


@pytest.mark.slow
def test_keys_that_only_look_alike_are_not_taken_for_one_file(loader: Loader, landing: Landings) -> None:
    """Object stores have keys that no folder has."""
    file = landing("ecommerce").write("events.csv", EVENTS + event(1))
    keys = ("ecommerce/a/events.csv", "ecommerce/a//events.csv", "ecommerce/a/./events.csv")
    report = loader.load_files(ecommerce, [LandedFile(key, file.uri, file.etag) for key in keys])
    assert report.loaded == {"a/events.csv": 1}
    assert [failure.file.key for failure in report.failures] == list(keys[1:])
    assert "the name holds an empty folder or a dot for one" in str(report.failures[0])


@pytest.mark.slow
def test_files_that_became_corrupt_or_empty_keep_their_earlier_rows_until_they_are_mended(
    loader: Loader, landing: Landings
) -> None:
    events = landing("ecommerce")
    good = [events.write(f"{name}_events.csv", EVENTS + event(1) + event(2)) for name in "ab"]
    loader.load_files(ecommerce, good)
    bad = [events.write("a_events.csv", EVENTS + event(1, "many")), events.write("b_events.csv", EVENTS)]
    for _ in range(2):
        corrupt, empty = loader.load_files(ecommerce, bad).failures  # told until it is mended
        assert "'many' is no DECIMAL" in str(corrupt) and "holds no rows any more" in str(empty)
    assert loader.value("SELECT count(*) FROM raw.ecommerce__events") == 4
    loader.load_files(ecommerce, [events.write("a_events.csv", EVENTS + event(1)), bad[1]])
    assert loader.value("SELECT count(*) FROM raw.ecommerce__events") == 3


@pytest.mark.slow
def test_names_that_drifted_meet_in_one_column_and_a_new_one_is_added(
    loader: Loader, landing: Landings, shared_data: Path
) -> None:
    trips = landing("nyc_taxi")
    plain = trips.copy(shared_data / "taxi" / "yellow_tripdata_sample_2019-04.csv")
    drifted = trips.write("trips_drifted.parquet", (shared_data / "taxi" / "taxi_2019_04.parquet").read_bytes())
    green = trips.copy(shared_data / "taxi" / "green_tripdata_2024-01.parquet")
    loader.load_files(nyc_taxi, [plain])
    report = loader.load_files(nyc_taxi, [plain, drifted, green])
    assert report.failures == []
    columns = "* EXCLUDE (source_file, source_row, _dlt_load_id)"
    of_file = "SELECT {} FROM raw.nyc_taxi__trips WHERE source_file = '{}'"
    difference = f"({of_file.format(columns, plain.name)} EXCEPT ALL {of_file.format(columns, drifted.name)})"
    assert loader.value(f"SELECT count(*) FROM {difference}") == 0
    expected = f"SELECT sum(trip_type)::BIGINT, count(*), min(VendorID)::VARCHAR FROM '{green.uri}'"
    found = of_file.format("sum(trip_type)::BIGINT, count(*), min(vendor_id)", green.name)
    assert loader.rows(found) == loader.rows(expected)


@pytest.mark.slow
def test_a_new_column_has_the_type_of_the_first_file_that_has_it(loader: Loader, landing: Landings) -> None:
    events = landing("ecommerce")

    def flagged(name: str, value: str) -> LandedFile:
        source = events.folder / "source.csv"
        source.write_text(EVENTS + event(1))
        duckdb.sql(f"COPY (SELECT *, {value} AS flag FROM read_csv('{source}')) TO '{events.folder / name}'")
        return events.file(events.folder / name)

    files = [flagged("1_events.parquet", "true"), flagged("2_events.parquet", "1")]
    report = loader.load_files(ecommerce, files)
    assert [str(failure) for failure in report.failures] == [
        "ecommerce/2_events.parquet: row 1, column flag: '1' is no BOOLEAN"
    ], "also in one load"
    report = loader.load_files(ecommerce, [flagged("3_events.parquet", "'maybe'")])
    assert "row 1, column flag: 'maybe' is no BOOLEAN" in str(report.failures[0])
    assert loader.rows("SELECT flag FROM raw.ecommerce__events") == [(True,)]


@pytest.mark.slow
def test_a_new_lake_beside_old_pipeline_folders_gets_every_file(loader: Loader, landing: Landings) -> None:
    file = landing("ecommerce").write("events.csv", EVENTS + event(1))
    loader.load_files(ecommerce, [file])
    # A lake without this load: what a restored backup or a new catalog is to the pipeline's local state.
    loader.rows("DELETE FROM raw._dlt_loads")
    loader.rows("DELETE FROM raw.ecommerce__events")
    assert loader.load_files(ecommerce, [file]).loaded == {"events.csv": 1}
    assert loader.value("SELECT count(*) FROM raw.ecommerce__events") == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "events.pdf",
            "the name ends in none of .csv, .json, .jsonl, .ndjson, .xlsx, .parquet, .orc, .avro,"
            " nor in one of these and .gz, .zst or .zip",
        ),
        ("report.csv", "the name does not match *events*"),
        ("events.csv", None),
    ],
)
def test_a_file_of_another_dataset_or_format_is_refused_by_name(name: str, reason: str | None) -> None:
    assert dataset("ecommerce").refusal(name) == reason


@pytest.mark.slow
def test_names_of_any_script_arrive_in_a_table_that_an_earlier_version_made(
    loader: Loader, landing: Landings, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = landing("ecommerce")
    with monkeypatch.context() as earlier:
        earlier.setitem(landing_files.NAMING, "naming", "snake_case")
        first = EVENTS.strip() + ",Price (USD)\n" + event(1).strip() + ",1.5\n"
        loader.load_files(ecommerce, [events.write("1_events.csv", first)])
    headers = EVENTS.strip() + ",Price (USD),ключ,цена,Preis €,Preis $,Preis %\n"
    files = [
        events.file(events.folder / "1_events.csv"),
        events.write("2_events.csv", headers + event(2).strip() + ",2.5,a,b,c,d,e\n"),
        events.write("3_events.csv", EVENTS.strip() + ",Preis %\n" + event(3).strip() + ",f\n"),
    ]
    assert loader.load_files(ecommerce, files).failures == []
    loader.pipeline("ecommerce").drop()  # what the pipeline knows comes from the lake
    files.append(events.write("4_events.csv", EVENTS.strip() + ",Preis %,Цена\n" + event(4).strip() + ",g,h\n"))
    assert loader.load_files(ecommerce, files).failures == []
    found = loader.rows(
        'SELECT event_id, price_usdx, "ключ", "цена", "preis_€", preisx, "preis_%" FROM raw.ecommerce__events'
        " ORDER BY 1"
    )
    assert found == [
        (1, 1.5, None, None, None, None, None),
        (2, 2.5, "a", "b", "c", "d", "e"),
        (3, None, None, None, None, None, "f"),
        (4, None, None, "h", None, None, "g"),
    ]
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'raw' AND table_name = '{}'"
    learned = loader.value(columns.format("ecommerce__events"))
    assert learned == len(dataset("ecommerce").table.columns) + 6
