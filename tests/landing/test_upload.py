"""`lakehouse upload`: what arrives would load; what would not is refused before it travels."""

from __future__ import annotations

import pytest

from tests.landing.conftest import EVENTS, LandingHouse, event


def test_files_and_folders_land_load_and_a_second_upload_moves_nothing(house: LandingHouse) -> None:
    first = house.file("events.csv", EVENTS + event(1) + event(2))
    house.file("more/2024/events_b.csv", EVENTS + event(3))
    house.file("more/.hidden_events.csv", "not looked at")
    done = house.upload(first, house.desk / "more")
    assert done.exit_code == 0, done.output
    assert "2 uploaded" in done.stdout and "3 rows" in done.stdout
    assert house.landed() == {"ecommerce/2024/events_b.csv": "waiting", "ecommerce/events.csv": "waiting"}
    house.load()
    assert house.per_file() == {"events.csv": 2, "2024/events_b.csv": 1}
    assert set(house.landed().values()) == {"loaded"}

    before = {file.key: file for file in house.lake.storage.list("landing/")}
    first.touch()
    again = house.upload(first, house.desk / "more")
    assert again.exit_code == 0
    assert "0 uploaded" in again.stdout and "2 there already, nothing moved" in again.stdout
    assert {file.key: file for file in house.lake.storage.list("landing/")} == before


def test_a_refused_file_is_explained_and_does_not_travel_the_others_do(house: LandingHouse) -> None:
    good = house.file("events.csv", EVENTS + event(1))
    wrong_type = house.file("events_type.csv", EVENTS + event(1) + event(2, "many"))
    no_column = house.file("events_column.csv", "event_id,user_id\n1,2\n")
    broken = house.file("events.parquet", b"PAR1 nothing PAR1")
    odd_line = house.file("events_line.csv", EVENTS + event(1) + "1,2,3,4,5,6,7,8,9,10\n")
    other = house.file("trips.csv", "a\n1\n")
    done = house.upload(good, wrong_type, no_column, broken, odd_line, other)
    assert done.exit_code == 1
    told = done.stderr
    assert f"refused {wrong_type}: row 2, column revenue: 'many' is no DECIMAL(12,2) (line 3)" in told
    assert f"refused {no_column}: no column event_type, event_timestamp, revenue; the file's columns are" in told
    assert f"refused {broken}: no readable PARQUET file" in told
    assert f"refused {odd_line}: no readable CSV file" in told and "Line: 3" in told
    assert f"refused {other}: the name does not match *events*; it looks like a file of nyc_taxi" in told
    assert "Correct what was refused and upload it again; --force" in told
    assert "1 uploaded" in done.stdout and "5 refused" in done.stdout
    assert house.landed() == {"ecommerce/events.csv": "waiting"}
    assert [file.key for file in house.lake.storage.list("quarantine/")] == []


@pytest.mark.slow
def test_force_lands_it_in_quarantine_where_it_is_listed_and_nobody_loads_it(house: LandingHouse) -> None:
    bad = house.file("events.csv", EVENTS + event(1, "many"))
    done = house.upload(bad, options=("--force",))
    assert done.exit_code == 1
    assert "quarantined" in done.stderr and "1 in quarantine" in done.stdout
    assert house.landed() == {"quarantine/ecommerce/events.csv": "quarantined"}
    listed = house.command("files", "ecommerce").stdout
    assert "'many' is no DECIMAL(12,2)" in listed
    assert "nothing new" in house.tick().skip_message
    house.upload(house.file("events.csv", EVENTS + event(1)))
    house.load()
    assert house.per_file() == {"events.csv": 1}
    gone = house.command("files", "delete", "quarantine/ecommerce/events.csv", "--yes")
    assert gone.exit_code == 0, gone.output
    assert house.landed() == {"ecommerce/events.csv": "loaded"}


@pytest.mark.slow
def test_a_file_is_refused_as_the_load_would_by_what_was_loaded_before(house: LandingHouse) -> None:
    header = EVENTS.strip() + ",discount\n"
    house.upload(house.file("events.csv", header + event(1).strip() + ",0.5\n"))
    house.load()
    done = house.upload(house.file("events_2.csv", header + event(2).strip() + ",much\n"))
    assert "row 1, column discount: 'much' is no DOUBLE" in done.stderr
    done = house.upload(house.file("events.csv", EVENTS))
    assert done.exit_code == 1
    assert "it holds no rows any more; its earlier rows stay: delete it instead, and they go" in done.stderr


@pytest.mark.slow
def test_every_name_loads_or_is_refused_by_name(house: LandingHouse) -> None:
    names = [
        "events 1.csv", "events'2'.csv", 'events"3".csv', "événements events 🚕.csv", "events#4.csv", "events%5.csv",
        "events%20.csv", "events?6.csv", "events*7.csv", "events[8].csv", "events..9.csv", "events+&=@:,;$!~^`|.csv",
        "events<b>{x}.csv", "-events.csv",
    ]  # fmt: skip
    for number, name in enumerate(names):
        house.file(f"all/{name}", EVENTS + event(number))
    refused = [house.file(name, EVENTS + event(99)) for name in ("events\n.csv", "events\\.csv", "_events.csv")]
    done = house.upload(house.desk / "all", *refused)
    assert f"{len(names)} uploaded" in done.stdout, done.output
    assert "the name holds characters that can't be printed" in done.stderr
    assert "the name holds a backslash" in done.stderr
    assert "_events.csv: names that begin with . or _ are never loaded" in done.stderr
    asked = house.tick()
    assert len(asked.run_requests) == 1
    house.load()
    assert house.per_file() == dict.fromkeys(names, 1)
    assert isinstance(house.tick().skip_message, str)
    assert "uploaded" not in house.upload(house.desk / "all").stdout.replace("0 uploaded", "")


def test_a_big_file_travels_in_parts_beside_small_ones(house: LandingHouse) -> None:
    filler = "x" * 1000
    big = house.file("events_big.csv", EVENTS + "".join(event(n).replace("A1", f"{n}{filler}") for n in range(9_000)))
    small = [house.file(f"events_{number}.csv", EVENTS + event(number)) for number in range(5)]
    done = house.upload(big, *small, options=("--jobs", "3"))
    assert done.exit_code == 0, done.output
    assert "6 uploaded (9.5 MB" in done.stdout
    assert "1 there already" in house.upload(big).stdout


def test_what_can_not_be_uploaded_at_all_is_a_sentence(house: LandingHouse) -> None:
    path = house.file("events.csv", EVENTS + event(1))
    unknown = house.command("upload", path, "--dataset", "ecomerce")
    assert unknown.exit_code == 2
    assert "There is no dataset ecomerce. Did you mean ecommerce? Datasets: ecommerce, nyc_taxi," in unknown.stderr
    missing = house.upload(house.desk / "nothing.csv")
    assert (missing.exit_code, "There is no file or folder" in missing.stderr) == (1, True)
    (house.desk / "empty").mkdir()
    assert "holds no file" in house.upload(house.desk / "empty").stderr
    twice = house.upload(path, house.file("other/events.csv", EVENTS))
    assert "would both be events.csv" in twice.stderr
