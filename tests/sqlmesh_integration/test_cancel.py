"""A run that is cancelled in the middle: it ends after its batch, and the next run computes the rest."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from tests import forking
from tests.sqlmesh_integration.sandbox import Sandbox, moment

CODE = Path(__file__).parent / "code_location.py"
GROWTH = "marts.daily_growth"
SLOW = """
import time
from pathlib import Path
from lakehouse_assets.sqlmesh_integration import engine

audit = engine.RecordingEvaluator.audit

def slow(self, snapshot, **settings):
    Path("wall").touch()
    while not Path("cancelled").exists():
        time.sleep(0.02)
    return audit(self, snapshot, **settings)

engine.RecordingEvaluator.audit = slow
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
    process = forking.start(
        "dagster", "job", "execute", "-f", str(CODE), "-j", "catch_up", cwd=tmp_path, first=SLOW, now=datetime.now(UTC),
        environment={**os.environ, "DAGSTER_HOME": str(tmp_path), "SHOP": str(shop.folder)},
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while not (tmp_path / "wall").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "wall").exists(), process.stderr[-3000:]
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        if is_asked_for:  # what the web UI's "Terminate" writes before it sends the signal
            instance.report_run_canceling(instance.get_runs()[0])
        process.send_signal(number)
        (tmp_path / "cancelled").touch()
        process.wait()
        (run,) = instance.get_runs()
        assert run.status is status, process.stderr[-3000:]
    rewritten = changed(shop, before)
    assert rewritten in ({"2024-01-05"}, {"2024-01-10"})  # the batch that it was at is whole
    (left,) = [day for day in days if f"{day[0]:%Y-%m-%d}" not in rewritten]
    assert shop.resource.deployed()[GROWTH].missing == (left,)

    assert shop.run().success
    assert changed(shop, before) == {"2024-01-05", "2024-01-10"}
    assert shop.resource.deployed()[GROWTH].missing == ()


def changed(shop: Sandbox, before: dict[str, object]) -> set[str]:
    return {day for day, stamp in shop.stamps(GROWTH).items() if stamp != before[day]}
