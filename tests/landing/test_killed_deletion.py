"""A load that is killed while rows go with their files leaves nothing that the next load does not put right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from lakehouse.lake.postgres import connect
from lakehouse.settings import PROJECT_ROOT
from tests.landing.conftest import EVENTS, LandingHouse, event


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("before the rows go", marks=pytest.mark.proof),
        "after the rows went",
        pytest.param("before the ledger hears of it", marks=pytest.mark.proof),
    ],
)
def test_the_next_load_deletes_what_is_gone_and_loads_what_came_back(house: LandingHouse, moment: str) -> None:
    house.file("events_gone.csv", EVENTS + event(1, day="2024-02-01"))
    back = house.file("events_back.csv", EVENTS + event(2, day="2024-02-02"))
    house.file("events_stays.csv", EVENTS + event(3, day="2024-02-03"))
    house.upload(house.desk)
    house.load()
    for name in ("events_gone.csv", "events_back.csv"):
        house.command("files", "delete", f"ecommerce/{name}", "--yes")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.landing.killed_load", moment],
        cwd=PROJECT_ROOT,
        env={**os.environ, **house.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert len(house.marks()) == (0 if moment == "before the ledger hears of it" else 1)
    house.upload(back)
    assert house.tick().run_requests
    house.load()
    assert house.per_file() == {"events_back.csv": 1, "events_stays.csv": 1}
    assert house.marks() == []
    assert house.landed()["ecommerce/events_gone.csv"] == "gone"
    assert getattr(house.tick(), "run_requests", None) is None
    with closing(connect(house.lake.settings)) as connection:
        touched = connection.execute(
            "SELECT range_agg(ranges) @> timestamp '2024-02-01 10:30' FROM ledger.touched WHERE rows_deleted > 0"
        ).fetchone()
    assert touched == (True,)
