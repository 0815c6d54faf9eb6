"""A run that is cancelled in the middle: it ends after its batch, and the next run computes the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from tests.sqlmesh_integration.sandbox import Sandbox, moment

ROOT = Path(__file__).parents[2]
GROWTH = "marts.daily_growth"
SLOW = """
import os, time
from pathlib import Path
from lakehouse_assets.sqlmesh_integration import engine

audit = engine.RecordingEvaluator.audit

def slow(self, snapshot, **settings):
    Path(os.environ["WALL"]).touch()
    time.sleep(3)
    return audit(self, snapshot, **settings)

engine.RecordingEvaluator.audit = slow
from tests.sqlmesh_integration.code_location import defs
"""


@pytest.mark.parametrize(
    ("is_asked_for", "number", "status"),
    [(True, signal.SIGINT, dg.DagsterRunStatus.CANCELED), (False, signal.SIGTERM, dg.DagsterRunStatus.FAILURE)],
    ids=["from the web UI", "by the machine"],
)
def test_a_cancelled_run_ends_after_its_batch_and_the_next_computes_the_rest(
    shop: Sandbox, tmp_path: Path, is_asked_for: bool, number: signal.Signals, status: dg.DagsterRunStatus
) -> None:
    days = [(moment("2024-01-05"), moment("2024-01-06")), (moment("2024-01-10"), moment("2024-01-11"))]
    shop.resource.mark_missing({GROWTH: days})  # two batches, since they don't touch
    before = shop.stamps(GROWTH)
    home, wall, code = tmp_path / "home", tmp_path / "wall", tmp_path / "slow_location.py"
    home.mkdir()
    code.write_text(SLOW)
    environment = {"DAGSTER_HOME": str(home), "SHOP": str(shop.folder), "PYTHONPATH": str(ROOT), "WALL": str(wall)}
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster", "job", "execute", "-f", str(code), "-j", "catch_up"],
        cwd=home,  # a .env of the project would win over our environment
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "told").open("w"),
        # A shell starts what it puts into the background with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 400
    while not wall.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert wall.exists(), (tmp_path / "told").read_text()[-3000:]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        if is_asked_for:  # what the web UI's "Terminate" writes before it sends the signal
            instance.report_run_canceling(instance.get_runs()[0])
        process.send_signal(number)
        process.wait(timeout=60)
        (run,) = instance.get_runs()
        assert run.status is status, (tmp_path / "told").read_text()[-3000:]
    rewritten = changed(shop, before)
    assert rewritten in ({"2024-01-05"}, {"2024-01-10"})  # the batch that it was at is whole
    (left,) = [day for day in days if f"{day[0]:%Y-%m-%d}" not in rewritten]
    assert shop.resource.deployed()[GROWTH].missing == (left,)

    assert shop.run().success
    assert changed(shop, before) == {"2024-01-05", "2024-01-10"}
    assert shop.resource.deployed()[GROWTH].missing == ()


def changed(shop: Sandbox, before: dict[str, object]) -> set[str]:
    return {day for day, stamp in shop.stamps(GROWTH).items() if stamp != before[day]}
