"""The services of `lakehouse up` are killed while files land: daemon, code server, run worker. The rest is theirs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.commands.test_end_to_end import events
from tests.faults import document
from tests.faults.test_faults import seed_of_run
from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import running_services, until

# A run is a process that the code server spawns.
VICTIMS = {"run worker": "spawn_main", "daemon": "dagster-daemon", "code server": "grpc"}
FILES = 8
SQL = "SELECT count(*), count(DISTINCT event_id), sum(revenue)::DOUBLE FROM raw.ecommerce__events"
MART_SQL = "SELECT sum(total_revenue)::DOUBLE FROM marts.daily_revenue"


def victims(lakehouse: LakehouseInstance, word: str) -> list[psutil.Process]:
    """The processes of this lakehouse that run it."""
    found = []
    for process in lakehouse.processes():
        try:
            if any(word in part for part in process.cmdline()) and (
                word != VICTIMS["run worker"] or "grpc" in (process.parent() or process).cmdline()
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.proof
def test_files_arrive_whoever_is_killed(new_lakehouse: Callable[[], LakehouseInstance], tmp_path: Path) -> None:
    chance = random.Random(seed_of_run())
    lakehouse = new_lakehouse()
    for words in (("bootstrap",), ("deploy", "prod", "--yes", "--no-backfill")):
        done = lakehouse.lakehouse(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    killed: Counter[str] = Counter()
    with running_services(lakehouse) as services:
        for number in range(FILES):
            file = tmp_path / f"shop_events_{number}.parquet"
            events(file, 1 + number * 1000, days=2, revenue=number + 1)
            assert lakehouse.lakehouse("upload", str(file), "--dataset", "ecommerce").returncode == 0
            name = list(VICTIMS)[number % len(VICTIMS)]
            alive = until(lambda: victims(lakehouse, VICTIMS[name]), 120, lambda: f"no {name}")  # noqa: B023
            chance.choice(alive).kill()
            killed[name] += 1
        truth = sum(48 * (number + 1) for number in range(FILES))
        wanted = [(48 * FILES, 48 * FILES, float(truth))]
        until(lambda: lakehouse.rows(SQL) == wanted, 600, lambda: f"{lakehouse.rows(SQL)} of {wanted}")
        until(lambda: lakehouse.rows(MART_SQL) == [(float(truth),)], 600, lambda: str(services.unfinished_runs()))
    document.write("services", document.services(dict(killed), 48 * FILES, 0))
