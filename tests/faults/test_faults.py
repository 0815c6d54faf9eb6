"""Nothing is lost, nothing comes twice and readers see no mixture, whoever is killed and whatever is away.

`make prove` injects hundreds of faults and writes docs/faults.md; `make test` a few of every sort.
FAULT_SEED=n repeats a run; FAULTS=n and FAULT_SECONDS=s shorten one.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults import document
from tests.faults.at_once import LOADERS, at_once
from tests.faults.campaign import BURSTS, Campaign, Report
from tests.faults.world import World
from tests.object_store import ObjectStore

SAMPLE = (
    "SIGKILL of loader", "SIGKILL of prod", "SIGKILL of PostgreSQL", "disk full", "DELETE and INSERT",
    "merge's commit", "log and the pointer", "SIGKILL of maintenance",
)  # fmt: skip


def seed_of_run() -> int:
    """FAULT_SEED, or one of its own."""
    return int(os.environ.get("FAULT_SEED") or random.randrange(1_000_000))


def campaign(
    folder: Path,
    count: int,
    store: ObjectStore | None = None,
    *,
    only: tuple[str, ...] = (),
    bursts: tuple[int, ...] = BURSTS,
    with_rule: bool = True,
) -> Report:
    """So many faults on a world of its own."""
    seed = seed_of_run()
    if not with_rule:
        (folder / "no-rule").touch()
    with World(folder, store).at_work() as world:
        report = Campaign(world, seed=seed).run(count, only, bursts, float(os.environ.get("FAULT_SECONDS") or "inf"))
    print(f"\n{report}\nThe same again: FAULT_SEED={seed}")
    return report


def judge(report: Report) -> None:
    """The promise."""
    assert not report.violations, str(report)
    assert (report.lost, report.doubled) == (0, 0), str(report)
    assert report.loads and report.reads, str(report)


@pytest.mark.slow
def test_a_sample_of_faults_loses_and_doubles_nothing(tmp_path: Path) -> None:
    judge(campaign(tmp_path, len(SAMPLE), only=SAMPLE, bursts=(8,)))


@pytest.mark.proof
def test_hundreds_of_faults_on_a_folder(tmp_path: Path) -> None:
    report = campaign(tmp_path, int(os.environ.get("FAULTS") or 230))
    document.write("folder", document.faults(report))
    judge(report)


@pytest.mark.proof
def test_hundreds_of_faults_on_s3(tmp_path: Path, object_store: ObjectStore) -> None:
    report = campaign(tmp_path, int(os.environ.get("FAULTS") or 90), object_store)
    document.write("s3", document.faults(report))
    judge(report)


@pytest.mark.proof
def test_without_the_rule_readers_see_what_is_wrong(tmp_path: Path) -> None:
    """Else the others would prove nothing."""
    report = campaign(tmp_path, 25, only=("SIGKILL of loader", "load:"), with_rule=False)
    document.write("no-rule", document.without_the_rule(report))
    assert report.violations


@pytest.mark.proof
def test_everybody_at_once(tmp_path: Path) -> None:
    with World(tmp_path, loaders=LOADERS, is_backfilling=True).at_work() as world:
        told = at_once(world, float(os.environ.get("AT_ONCE_SECONDS") or 600), seed_of_run())
    print(f"\n{told}")
    document.write("at-once", document.everybody(told))
    assert not told.violations, str(told)
    assert not told.errors, str(told)
    assert (told.lost, told.doubled) == (0, 0), str(told)
