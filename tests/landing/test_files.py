"""`lakehouse files`, and what a load does about files that change, come back or go."""

from __future__ import annotations

import json

import dagster as dg
import pytest

from tests.landing.conftest import EVENTS, LandingHouse, event


@pytest.mark.slow
def test_a_file_is_asked_for_until_it_is_loaded_and_a_column_that_nobody_declared_is_on_the_assets_page(
    house: LandingHouse,
) -> None:
    house.upload(house.file("events.csv", EVENTS.replace("\n", ",coupon\n") + event(1).replace("\n", ",SPRING\n")))
    first, second = house.tick(), house.tick()
    assert [request.run_key for request in first.run_requests] == [request.run_key for request in second.run_requests]
    (load,) = house.load().asset_materializations_for_node("ecommerce")
    assert isinstance(house.tick(), dg.SkipReason)
    columns = {column.name: column.type for column in load.metadata["dagster/column_schema"].value.columns}
    assert columns["coupon"] == "VARCHAR"
    assert len(columns) == len(load.metadata["dagster/column_schema"].value.columns)


@pytest.mark.slow
def test_an_earlier_version_comes_back_and_replaces_exactly_its_rows(house: LandingHouse) -> None:
    asked = []
    for rows in (1, 3):
        house.upload(house.file("events.csv", EVENTS + "".join(event(number) for number in range(rows))))
        house.upload(house.file("other_events.csv", EVENTS + event(100)))
        asked += [request.run_key for request in house.tick().run_requests]
        house.load()
    assert house.per_file() == {"events.csv": 3, "other_events.csv": 1}
    done = house.command("files", "ecommerce", "--versions", "--json")
    kept = [entry for entry in json.loads(done.stdout) if entry["key"] == "ecommerce/events.csv"]
    assert [(entry["state"], entry["detail"], entry["rows"]) for entry in kept] == [
        ("loaded", "", 3),
        ("replaced", "was loaded", 1),
    ]
    restored = house.command("files", "restore", "ecommerce/events.csv", "--version", kept[1]["version"])
    assert restored.exit_code == 0, restored.output
    assert "is again as it was at" in restored.stdout
    assert house.landed()["ecommerce/events.csv"] == "waiting"
    asked += [request.run_key for request in house.tick().run_requests]
    assert len(asked) == len(set(asked)) == 3, "a run key that was used before starts no run"
    house.load()
    assert house.per_file() == {"events.csv": 1, "other_events.csv": 1}
    assert isinstance(house.tick(), dg.SkipReason)


def test_a_deleted_file_takes_its_rows_along_and_brings_them_back(house: LandingHouse) -> None:
    path = house.file("events.csv", EVENTS + event(1, day="2024-03-05"))
    house.upload(path, house.file("other_events.csv", EVENTS + event(2)))
    loaded = house.tick().run_requests[0].run_key
    house.load()
    done = house.command("files", "delete", "ecommerce/events.csv", typed="y\n")
    assert done.exit_code == 0, done.output
    assert "Its rows go with the next load." in done.stdout
    assert house.landed()["ecommerce/events.csv"] == "gone"
    asked = house.tick()
    assert len(asked.run_requests) == 1
    (load,) = house.load().asset_materializations_for_node("ecommerce")
    assert load.metadata["rows_deleted"].value == 1
    assert load.metadata["files_deleted"].value == 1
    assert load.metadata["touched"].value == "2024-03-05 10:00 – 2024-03-05 11:00"
    assert house.per_file() == {"other_events.csv": 1}
    assert house.landed()["ecommerce/events.csv"] == "gone"
    assert isinstance(house.tick(), dg.SkipReason)

    house.upload(path)
    again = house.tick().run_requests[0].run_key
    assert again not in (loaded, asked.run_requests[0].run_key)
    house.load()
    assert house.per_file() == {"events.csv": 1, "other_events.csv": 1}


@pytest.mark.slow
def test_a_dataset_that_keeps_rows_keeps_them(house: LandingHouse, monkeypatch) -> None:
    import dataclasses

    from dlt_sources import datasets

    keeping = dataclasses.replace(datasets.dataset("ecommerce"), when_deleted="keep_rows")
    for user in ("dlt_sources.datasets", "lakehouse_assets.defs.ingestion.files_load", "lakehouse_assets.defs.jobs"):
        monkeypatch.setattr(f"{user}.dataset", lambda name: keeping)
    house.upload(house.file("events.csv", EVENTS + event(1)))
    house.load()
    house.command("files", "delete", "ecommerce/events.csv", "--yes")
    assert isinstance(house.tick(), dg.SkipReason)
    house.load()
    assert house.per_file() == {"events.csv": 1}
    assert "gone, its rows are in the lake" in house.command("files", "ecommerce").stdout


@pytest.mark.slow
def test_a_file_that_goes_while_it_loads_is_named_and_the_others_load(house: LandingHouse, monkeypatch) -> None:
    from lakehouse_assets.defs.ingestion.files_load import FilesLoad

    house.upload(house.file("events.csv", EVENTS + event(1)), house.file("other_events.csv", EVENTS + event(2)))
    fetch = FilesLoad._fetch

    def vanish(self, key, target):
        if key.endswith("/events.csv"):
            self.lake.storage.delete([key])
        fetch(self, key, target)

    with monkeypatch.context() as patch:
        patch.setattr(FilesLoad, "_fetch", vanish)
        result = house.load(raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "ecommerce/events.csv: it was deleted while it was being loaded" in str(failure.step_failure_data)
    assert house.per_file() == {"other_events.csv": 1}
    assert house.marks() == []
    house.upload(house.desk / "events.csv")
    assert house.tick().run_requests, "the same content under the same name is not taken for refused"


@pytest.mark.slow
def test_a_refused_file_in_the_landing_zone_is_listed_with_its_reason(house: LandingHouse) -> None:
    house.lake.storage.upload(house.file("events.csv", EVENTS + event(1, "many")), "landing/ecommerce/events.csv")
    assert not house.load(raise_on_error=False).success
    listed = house.command("files").stdout
    assert "refused, row 1, column revenue: 'many' is no DECIMAL(12,2)" in listed
    assert isinstance(house.tick(), dg.SkipReason)


@pytest.mark.slow
def test_a_column_that_a_whole_file_lacks_is_told_until_it_comes_or_may_be_missing(
    house: LandingHouse, monkeypatch
) -> None:
    without = EVENTS.replace(",country", "") + event(1).replace(",France", "")
    house.upload(house.file("events.csv", without), house.file("other_events.csv", EVENTS + event(2)))
    house.load()
    assert "events.csv: loaded, without country: NULL in all its rows" in house.command("files", "ecommerce").stdout
    for told in (house.alerts(), house.status()):
        assert "country is missing in events.csv: NULL in 1 rows" in told
    assert "required = false" in house.alerts()
    house.upload(house.file("events.csv", EVENTS + event(1)))
    house.load()
    assert "country" not in house.status() + house.command("files", "ecommerce").stdout
    assert house.alerts() == "Nothing is wrong that anybody was told of.\n"

    import dataclasses

    from dlt_sources import datasets

    known = datasets.dataset("ecommerce")
    columns = tuple(
        dataclasses.replace(column, required=False) if column.name == "country" else column for column in known.columns
    )
    monkeypatch.setattr(
        "lakehouse_assets.defs.ingestion.files_load.dataset", lambda name: dataclasses.replace(known, columns=columns)
    )
    house.upload(house.file("events.csv", without))
    house.load()
    assert "country" not in house.alerts() + house.status() + house.command("files", "ecommerce").stdout


def test_unknown_files_and_versions_are_sentences(house: LandingHouse) -> None:
    assert "No file in the dataset ecommerce yet" in house.command("files", "ecommerce").stdout
    house.upload(house.file("events.csv", EVENTS + event(1)))
    for arguments, sentence in {
        ("delete", "ecommerce/event.csv", "--yes"): "no file ecommerce/event.csv. Did you mean ecommerce/events.csv?",
        ("restore", "ecommerce/event.csv", "--version", "1"): "Did you mean ecommerce/events.csv?",
        ("restore", "ecommerce/events.csv", "--version", "nope"): "nope is no version of ecommerce/events.csv: ",
        ("delete", "../../etc/passwd", "--yes"): "leads out of",
        ("delete", "nowhere", "--yes"): "There is no file nowhere.",
    }.items():
        done = house.command("files", *arguments)
        assert done.exit_code == 1, arguments
        assert sentence in done.stderr, done.output
    assert "There is no dataset shop." in house.command("files", "shop").stderr


@pytest.mark.slow
def test_a_dataset_that_was_declared_after_the_bootstrap_needs_no_other(house: LandingHouse) -> None:
    house.define("nyc_taxi")
    assert house.load().success, "with no file and no table yet"
    path = house.file(
        "trips.csv",
        "pickup_at,dropoff_at,pickup_location_id,total_amount\n2024-01-01 10:00:00,2024-01-01 10:10:00,1,9\n",
    )
    assert house.command("upload", path, "--dataset", "nyc_taxi").exit_code == 0
    (load,) = house.load().asset_materializations_for_node("nyc_taxi")
    assert load.metadata["touched"].value == "2024-01-01 10:00 – 2024-01-01 11:00"
    assert house.rows("SELECT source_file, total_amount FROM raw.nyc_taxi__trips") == [("trips.csv", 9.0)]
