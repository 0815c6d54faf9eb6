"""A loader killed between DuckLake's commit and dlt's mark: after the next load, no row is missing or twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from dlt_sources.datasets import ecommerce
from lakehouse.settings import PROJECT_ROOT
from tests.dlt_sources.loading import Landing, Loader

EVENTS = "event_id,event_type,event_timestamp,revenue\n"
ROW = "{},purchase,2024-01-01 10:00:00,1.00\n"


@pytest.mark.parametrize("job", ["copy", "merge"])
def test_a_load_killed_after_its_commit_doubles_nothing(
    loader: Loader, landing: Callable[[str], Landing], lakehouse_environment: dict[str, str], job: str
) -> None:
    events = landing("ecommerce")
    # An exact duplicate (7) must stay two rows, however often the copy is repeated.
    first = events.write("events.csv", EVENTS + "".join(ROW.format(number) for number in (7, 7, *range(100))))
    loader.load_files(ecommerce, [first])
    changed = events.write("events.csv", EVENTS + "".join(ROW.format(number) for number in (7, 7, *range(50))))
    killed = subprocess.run(
        [sys.executable, "-m", "tests.dlt_sources.killed_load", job, str(events.folder)],
        cwd=PROJECT_ROOT,
        env={**os.environ, **lakehouse_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    pipeline = loader.pipeline("ecommerce")
    assert pipeline.has_pending_data
    while pipeline.has_pending_data:
        pipeline.run()
    assert loader.load_files(ecommerce, [changed]).unchanged == {"events.csv": 52}
    assert loader.rows("SELECT count(*), count(DISTINCT source_row), sum(event_id) FROM raw.ecommerce__events") == [
        (52, 52, sum(range(50)) + 14)
    ]
