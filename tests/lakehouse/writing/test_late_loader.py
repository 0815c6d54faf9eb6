"""A process whose locks went back while it worked, and whose work another one took over, commits nothing more."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.settings import PROJECT_ROOT
from lakehouse.writing.loads import loading


@pytest.mark.parametrize("begun", ["before", "after"])
def test_who_lost_its_locks_commits_nothing_behind_its_successor(
    lake: Lake, lakehouse_environment: dict[str, str], begun: str
) -> None:
    with closing(lake.connect()) as connection:
        connection.execute("CREATE TABLE raw.shop__t (a INT)")
    late = subprocess.Popen(
        [sys.executable, "-m", "tests.lakehouse.writing.late_loader", begun], cwd=PROJECT_ROOT,
        env={**os.environ, **lakehouse_environment}, stdin=-1, stdout=-1, stderr=-1, text=True,
    )  # fmt: skip
    assert late.stdout is not None and late.stdout.readline() == "ready\n"
    with closing(connect(lake.settings)) as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lakehouse the late one'"
        assert connection.execute(cut).fetchall() == [(True,)]
    with loading(lake, "shop", {"raw.shop__t": None}, run="its successor"), closing(lake.connect()) as connection:
        connection.execute("INSERT INTO raw.shop__t VALUES (1)")
    said, _ = late.communicate("go on\n")
    assert "taken over" in said or "serialize" in said, said
    assert late.returncode
    with closing(lake.connect(read_only=True)) as connection:
        assert connection.execute("FROM raw.shop__t").fetchall() == [(1,)]
    with loading(lake, "shop", {"raw.shop__t": None}, run="the next"):
        pass
