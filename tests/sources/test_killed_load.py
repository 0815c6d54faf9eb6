"""A Dagster run of an ordinary source is killed: the next load, by whomever, leaves every row once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from lakehouse.settings import PROJECT_ROOT
from lakehouse.writing.loads import repair
from tests.sources.conftest import Sources

SHOP = """
    import dlt

    LOAD = {load}
    FLAT = [{{"id": n, "load": LOAD}} for n in range(LOAD * 5, LOAD * 5 + 10)]
    ROWS = [{{**row, "lines": [{{"n": row["id"]}}]}} for row in FLAT]

    def progress():
        state = dlt.current.resource_state()
        state["loads"] = state.get("loads", 0) + 1
        yield {{"loads": state["loads"]}}

    appended = dlt.resource(FLAT, name="appended")
    replaced = dlt.resource(ROWS, name="replaced", write_disposition="replace")
    merged = dlt.resource(ROWS, name="merged", primary_key="id", write_disposition="merge")
    counted = dlt.resource(progress, name="counted")
"""
QUEUE = """
    import dlt
    from pathlib import Path

    LAKEHOUSE = {{"asked_once": True}}
    queue = Path("{queue}")

    @dlt.resource
    def messages():
        taken = queue.read_text().split()
        queue.write_text("")
        yield [{{"id": int(one), "lines": [{{"n": 1}}]}} for one in taken]
"""


def kill(team: Sources, environment: dict[str, str], moment: str) -> None:
    """A load of `shop` that dies there."""
    killed = subprocess.run(
        [sys.executable, "-m", "tests.sources.killed_load", str(team.folder), moment],
        cwd=PROJECT_ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", ["4", *(pytest.param(moment, marks=pytest.mark.proof) for moment in ("mark", *map(str, range(2, 11))))]
)
def test_a_killed_run_is_undone_and_the_next_one_is_exact(
    team: Sources, lakehouse_environment: dict[str, str], moment: str
) -> None:
    team.write("shop", SHOP.format(load=0))
    team.load("shop")
    team.write("shop", SHOP.format(load=1))
    kill(team, lakehouse_environment, moment)
    assert team.marks() == ["shop"]
    repair(team.lake, ["shop"], run="a run that reads it")
    assert team.marks() == []
    for table in ("appended", "replaced", "merged"):
        assert team.rows(f"SELECT count(*), max(load) FROM raw.shop__{table}") == [(10, 0)], table
    for table in ("replaced", "merged"):
        assert team.rows(f"SELECT count(*) FROM raw.shop__{table}__lines") == [(10,)], table
    team.load("shop")
    for table, rows in (("appended", 20), ("replaced", 10), ("merged", 15)):
        assert team.rows(f"SELECT count(*) FROM raw.shop__{table}") == [(rows,)], table
    for table, rows in (("replaced", 10), ("merged", 15)):
        assert team.rows(f"SELECT count(*) FROM raw.shop__{table}__lines") == [(rows,)], table
    assert team.rows("SELECT loads FROM raw.shop__counted ORDER BY 1") == [(1,), (2,)], "the state is the lake's"


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", ["1", *(pytest.param(m, marks=pytest.mark.proof) for m in ("2", "3", "mark", "done"))]
)
def test_what_was_taken_from_a_queue_is_kept_until_it_is_loaded(
    team: Sources, lakehouse_environment: dict[str, str], moment: str
) -> None:
    queue = team.folder.parent / "queue"
    queue.write_text("1 2")
    team.write("shop", QUEUE.format(queue=queue))
    team.load("shop")
    queue.write_text("3 4 5")
    kill(team, lakehouse_environment, moment)
    assert queue.read_text() == "", "nobody can ask for them again"
    repair(team.lake, ["shop"], run="a run that reads it")
    assert team.rows("SELECT count(*) FROM raw.shop__messages") == [(5 if moment == "done" else 2,)]
    queue.write_text("6")
    for ids in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])[moment == "done" :]:
        team.load("shop")
        assert team.rows("SELECT id FROM raw.shop__messages ORDER BY id") == [(one,) for one in ids]
        assert team.rows("SELECT count(*) FROM raw.shop__messages__lines") == [(len(ids),)]
