"""Nothing is lost, nothing comes twice and readers see no mixture, whoever is killed and whatever is away.

`make prove` injects hundreds of faults and writes docs/faults.md; `make test` a few of every sort.
FAULT_SEED=n repeats a run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Report
from tests.faults.world import World
from tests.object_store import ObjectStore

SAMPLE = (
    "SIGKILL of loader", "SIGKILL of prod", "SIGKILL of PostgreSQL", "disk full", "DELETE and INSERT",
    "merge's commit", "log and the pointer", "SIGKILL of maintenance",
)  # fmt: skip


def campaign(folder: Path, count: int, store: ObjectStore | None = None, only: tuple[str, ...] = ()) -> Report:
    """So many faults on a world of its own."""
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(1_000_000))
    with World(folder, store).at_work() as world:
        report = Campaign(world, seed=seed).run(count, only)
    print(f"\n{report}\nThe same again: FAULT_SEED={seed}")
    return report


def judge(report: Report) -> None:
    """The promise."""
    assert not report.violations, str(report)
    assert (report.lost, report.doubled) == (0, 0), str(report)
    assert report.loads and report.reads, str(report)


def test_a_sample_of_faults_loses_and_doubles_nothing(tmp_path: Path) -> None:
    judge(campaign(tmp_path, 8, only=SAMPLE))


@pytest.mark.proof
def test_hundreds_of_faults_on_a_folder(tmp_path: Path) -> None:
    judge(campaign(tmp_path, int(os.environ.get("FAULTS") or 220)))


@pytest.mark.proof
def test_hundreds_of_faults_on_s3(tmp_path: Path, object_store: ObjectStore) -> None:
    judge(campaign(tmp_path, int(os.environ.get("FAULTS") or 80), object_store))
