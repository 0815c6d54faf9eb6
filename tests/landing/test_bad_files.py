"""Files from outside, by both ways in: each bad one is named with place and reason, and costs nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dlt_sources.landing.landed import printable
from tests.landing.bad_files import bad_files, odd_files
from tests.landing.conftest import EVENTS, LandingHouse, event

ON_A_FOLDER = pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)


@pytest.mark.slow
@ON_A_FOLDER
def test_every_bad_file_is_refused_by_upload_and_load_and_the_good_beside_it_arrive(house: LandingHouse) -> None:
    bad, odd = bad_files(), odd_files()
    loaded = {name: rows for name, (_, rows) in odd.items()}
    for name, (content, _) in {**bad, **odd}.items():
        house.file(name, content)
    not_text = Path(os.fsdecode(bytes(house.desk) + b"/bytes\xff_events.csv"))
    not_text.write_text(EVENTS + event(1))

    done = house.upload(*sorted(house.desk.iterdir()))
    assert done.exit_code == 1
    told = {line.partition(": ")[0]: line for line in done.stderr.splitlines() if line.startswith("refused ")}
    for name, (_, sentence) in bad.items():
        assert sentence in told[f"refused {house.desk}/{printable(name)}"]
    assert f"{len(odd)} uploaded" in done.stdout and f"{len(bad) + 1} refused" in done.stdout
    assert "\x1b" not in done.output and "_events.csv: the name holds" in done.stderr
    house.load()
    assert house.per_file() == loaded
    before = house.rows("SELECT * EXCLUDE (_dlt_load_id) FROM raw.ecommerce__events ORDER BY ALL")

    # The other way in: they just appear, beside a new good one, and one takes the place of a good one.
    landing = house.lake.storage.root / "landing" / "ecommerce"
    for path in house.desk.iterdir():
        (landing / path.name).write_bytes(path.read_bytes())
    (landing / "formula_events.csv").write_bytes((house.desk / "flipped_events.parquet").read_bytes())
    (landing / "new_events.csv").write_text(EVENTS + event(1))
    result = house.load(raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    message = failure.step_failure_data.user_failure_data.description
    assert f"{len(bad) + 2} of {len(bad) + 3} new or changed files could not be loaded (1 loaded)" in message
    for name, (_, sentence) in bad.items():
        assert any(
            line.startswith(f"  ecommerce/{printable(name)}: ") and sentence in line for line in message.splitlines()
        ), name
    assert house.per_file() == loaded | {"new_events.csv": 1}
    assert before == house.rows(
        "SELECT * EXCLUDE (_dlt_load_id) FROM raw.ecommerce__events WHERE source_file <> 'new_events.csv' ORDER BY ALL"
    )
    assert house.marks() == []
    states = house.landed()
    assert {name: states[f"ecommerce/{name}"] for name in bad} == dict.fromkeys(bad, "refused")
    assert states["ecommerce/bytes\\udcff_events.csv"] == "refused"
    assert "nothing new" in house.tick().skip_message, "nobody asks for a refused file again"
    assert "\x1b" not in house.command("files", "ecommerce").stdout


@ON_A_FOLDER
def test_what_upload_refuses_goes_into_quarantine_whatever_it_is(house: LandingHouse) -> None:
    names = ("pdf_events.csv", "flipped_events.parquet", "events\x1b[31m.csv")
    bad = {name: bad_files()[name] for name in names}
    for name, (content, _) in bad.items():
        house.file(name, content)
    not_text = Path(os.fsdecode(bytes(house.desk) + b"/bytes\xff_events.csv"))
    not_text.write_text(EVENTS + event(1))
    done = house.upload(*sorted(house.desk.iterdir()), options=("--force",))
    assert "3 in quarantine" in done.stdout and "1 refused" in done.stdout, done.output
    listed = json.loads(house.command("files", "ecommerce", "--json").stdout)
    reasons = {entry["key"]: entry["detail"] for entry in listed}
    for name, (_, sentence) in bad.items():
        assert sentence in reasons[f"quarantine/ecommerce/{name}"]
