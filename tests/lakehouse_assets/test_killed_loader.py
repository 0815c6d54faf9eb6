"""A loader that is killed between two of its commits leaves a mark, no lock, and nothing that a run does not repair."""

import signal
import time
from contextlib import closing

import pytest

from lakehouse.lake.postgres import connect
from tests.lakehouse_assets.conftest import House
from tests.sqlmesh_project.totals import TOTALS, compare

ROWS = 20_000


def kill_after_commits(house: House, commits: int) -> int:
    """Start a load and SIGKILL it when it has made this many commits. Gives how many it made."""
    before = house.lake.newest_snapshot()
    process = house.loader()
    with closing(connect(house.lake.settings)) as connection:
        while process.poll() is None:
            row = connection.execute("SELECT max(snapshot_id) FROM lakehouse.ducklake_snapshot").fetchone()
            assert row is not None
            if row[0] >= before + commits:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it ended before commit {commits}:\n{errors.decode()[-2000:]}"
    return house.lake.newest_snapshot() - before


def waiting_locks(house: House) -> int:
    with closing(connect(house.lake.settings)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.proof
@pytest.mark.parametrize("commits", [1, 2, 3])
def test_a_run_repairs_a_killed_load_before_it_computes(house: House, commits: int) -> None:
    file = f"ecommerce_events_killed_{commits}.parquet"
    house.land_events(
        file,
        f"SELECT {commits} * 1000000 + i, i % 50, 'purchase', "
        f"TIMESTAMP '2011-0{2 + commits}-01' + INTERVAL (i) MINUTE, 2 FROM range({ROWS}) t(i)",
    )
    made = kill_after_commits(house, commits)
    assert made >= commits
    (mark,) = house.marks("load")
    assert mark.scope == "ecommerce"
    deadline = time.monotonic() + 100
    while waiting_locks(house) and time.monotonic() < deadline:  # PostgreSQL notices a dead client when it next looks
        time.sleep(0.05)
    assert waiting_locks(house) == 0

    house.run("catch_up")
    assert house.marks("load") == []
    assert house.marks("model") == []
    house.load_events()  # what the killed process had not yet extracted comes by the ordinary load
    house.run("catch_up")
    assert house.rows(
        f"SELECT count(*), count(DISTINCT source_row) FROM raw.ecommerce__events WHERE source_file = '{file}'"
    ) == [(ROWS, ROWS)]
    with closing(house.lake.connect(read_only=True)) as connection:
        checks = tuple(check for check in TOTALS if check.mart == "marts.daily_revenue")
        assert [comparison.problem for comparison in compare(connection, checks)] == [""]
