"""What somebody starts twice: the second is told, or waits."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.settings import PROJECT_ROOT
from tests.commands.test_end_to_end import events
from tests.lakehouse_instance import TOOLS, LakehouseInstance
from tests.running_services import until

pytestmark = pytest.mark.proof


def both(lakehouse: LakehouseInstance, *words: str) -> list[subprocess.CompletedProcess[str]]:
    """The same command twice at once."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: lakehouse.lakehouse(*words), range(2)))


def test_two_demos_on_an_empty_machine(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    lakehouse = new_lakehouse()
    done = both(lakehouse, "demo")
    assert [one.returncode for one in done] == [0, 0], [one.stdout[-1500:] + one.stderr[-1500:] for one in done]
    assert all("equal" in one.stdout for one in done)
    twice = "SELECT count(*) - count(DISTINCT collision_id) FROM raw.nyc_collisions__crashes"
    assert lakehouse.value(twice) == 0


def test_two_deploys_of_one_environment(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    lakehouse = new_lakehouse()
    assert lakehouse.lakehouse("bootstrap").returncode == 0
    done = both(lakehouse, "deploy", "prod", "--yes", "--no-backfill")
    assert [one.returncode for one in done] == [0, 0], [one.stdout[-1500:] + one.stderr[-1500:] for one in done]
    again = lakehouse.lakehouse("plan", "prod")
    assert "no changes" in again.stdout.lower() or again.returncode == 0


def test_two_bootstraps_at_once(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    done = both(new_lakehouse(), "bootstrap")
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]


def test_two_daemons_are_told_and_load_a_file_once(
    new_lakehouse: Callable[[], LakehouseInstance], tmp_path: Path
) -> None:
    lakehouse = new_lakehouse()
    for words in (("bootstrap",), ("deploy", "prod", "--yes", "--no-backfill")):
        assert lakehouse.lakehouse(*words).returncode == 0
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    daemons = []
    try:
        for log in logs:
            with log.open("wb") as output:
                daemons.append(
                    subprocess.Popen(
                        [str(TOOLS / "dagster-daemon"), "run", "-w", str(PROJECT_ROOT / "workspace.yaml")],
                        env=lakehouse.environment, stdout=output, stderr=output, cwd=PROJECT_ROOT,
                    )
                )  # fmt: skip
        until(
            lambda: any("daemon is still sending heartbeats" in log.read_text() for log in logs), 180,
            lambda: logs[1].read_text()[-2000:],
        )  # fmt: skip
        events(tmp_path / "shop_events.parquet", 1, days=2, revenue=1)
        uploaded = lakehouse.lakehouse("upload", str(tmp_path / "shop_events.parquet"), "--dataset", "ecommerce")
        assert uploaded.returncode == 0, uploaded.stderr
        count = "SELECT count(*), count(DISTINCT event_id) FROM raw.ecommerce__events"
        until(lambda: lakehouse.rows(count) == [(48, 48)], 300, lambda: str(lakehouse.rows(count)))
    finally:
        for daemon in daemons:
            daemon.terminate()
            daemon.wait(120)
    assert lakehouse.rows(count) == [(48, 48)]
