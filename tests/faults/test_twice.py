"""What somebody starts twice: the second is told, or waits."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lakehouse_instance import LakehouseInstance

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
