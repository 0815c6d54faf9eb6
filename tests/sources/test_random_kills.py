"""Loads of every disposition, killed at random moments one after the other: whatever was committed, rows stay exact."""

from __future__ import annotations

import os
import random
import time

import pytest

from lakehouse.writing.loads import repair
from tests import forking
from tests.sources.conftest import Sources

KILLS = int(os.environ.get("KILLS", "1000"))
SEED = int(os.environ.get("KILL_SEED") or random.randrange(10**6))
WAYS: dict[str, object] = {
    "appended": {},
    "replaced": {"write_disposition": "replace"},
    **{
        name: {"write_disposition": {"disposition": "merge", "strategy": strategy}, "primary_key": "id"}
        for name, strategy in (
            ("merged", "delete-insert"),
            ("upserted", "upsert"),
            ("inserted", "insert-only"),
            ("historised", "scd2"),
        )
    },
}
ALIVE = 8
"""One load in so many is let live, whatever the others met."""
SHOP = """
    import dlt

    ROWS = [{{"id": n, "load": {load}, "lines": [{{"n": n}}]}} for n in {ids}]

    def progress():
        state = dlt.current.resource_state()
        state["loads"] = [*state.get("loads", []), {load}]
        yield {{"load": {load}, "loads": len(state["loads"])}}

    @dlt.source
    def shop():
        yield dlt.resource(progress, name="counted")
        for name, hints in {ways}.items():
            yield dlt.resource(ROWS, name=name, **hints)
"""


def ids(load: int) -> list[int]:
    return [(load * 3 + n) % 40 for n in range(10)]


def expected(way: str, loads: list[int]) -> list[tuple[int, int]]:
    """The table's ids and the load of each, after these loads."""
    rows = [(id_, load) for load in loads for id_ in ids(load)]
    if way in ("merged", "upserted"):
        rows = list(dict(rows).items())
    elif way == "inserted":
        rows = list(dict(reversed(rows)).items())
    elif way == "replaced":
        rows = rows[-10:]
    return sorted(rows)


def completed(team: Sources) -> list[int]:
    """The loads that are whole, by what the source itself has written; its state has gone along."""
    rows = team.rows("SELECT load, loads FROM raw.shop__counted ORDER BY loads")
    assert [count for _, count in rows] == list(range(1, len(rows) + 1)), "the state is the lake's"
    return [load for load, _ in rows]


def check(team: Sources, brought: dict[str, list[int]], told: str) -> None:
    for way, loads in brought.items():
        rows = expected(way, loads)
        assert sorted(team.rows(f"SELECT id, load FROM raw.shop__{way}")) == rows, f"{way}, {told}"
        ((lines, of_parents, parents),) = team.rows(
            f"SELECT (SELECT count(*) FROM raw.shop__{way}__lines), count(*), count(DISTINCT parent._dlt_id) "
            f"FROM raw.shop__{way} AS parent JOIN raw.shop__{way}__lines AS line "
            "ON line._dlt_parent_id = parent._dlt_id AND line.n = parent.id"
        )
        assert (lines, of_parents, parents) == (len(rows),) * 3, f"{way}__lines, {told}"
    if loads := brought.get("historised"):
        valid = team.rows("SELECT id, load FROM raw.shop__historised WHERE _dlt_valid_to IS NULL")
        assert sorted(valid) == sorted((one, loads[-1]) for one in ids(loads[-1])), told


@pytest.mark.proof  # a load for every kill
def test_loads_killed_at_random_leave_each_row_once(team: Sources, lakehouse_environment: dict[str, str]) -> None:
    chance = random.Random(SEED)
    environment = {**os.environ, **lakehouse_environment, "TMPDIR": str(team.folder.parent)}
    whole: list[int] = []
    asked: dict[int, list[str]] = {}
    outcomes = dict.fromkeys(("nothing was marked", "undone at once", "undone by the next load", "was whole"), 0)
    load, seconds = 0, 60.0
    while sum(outcomes.values()) < KILLS or len(whole) < 2:
        load += 1
        told = f"load {load}, KILL_SEED={SEED}"
        asked[load] = sorted(WAYS) if load == 1 else chance.sample(sorted(WAYS), 2)
        chosen = {way: WAYS[way] for way in asked[load]}
        team.write("shop", SHOP.format(load=load, ids=ids(load), ways=chosen))
        team.source("shop")  # else the process would let another one read the file
        lives = load == 1 or chance.randrange(ALIVE) == 0
        started = time.monotonic()
        process = forking.start(
            "python", "-m", "tests.sources.killed_load", str(team.folder), "never",
            environment=environment, first="import tempfile; tempfile.tempdir = None",
        )  # fmt: skip
        if not lives:
            process.process.join(chance.uniform(0, seconds))
        if lives or process.poll() is not None:
            assert process.wait() == 0, f"{told}: {process.stderr[-2000:]}"
            seconds = max(0.5, time.monotonic() - started)
            whole.append(load)
        else:
            process.kill()
            if team.marks():
                at_once = chance.random() < 0.5
                outcomes["undone at once" if at_once else "undone by the next load"] += 1
                if not at_once:
                    continue
                repair(team.lake, ["shop"], run="a run that reads it")
            elif completed(team) != whole:
                outcomes["was whole"] += 1
                whole.append(load)
            else:
                outcomes["nothing was marked"] += 1
        assert team.marks() == [], told
        assert completed(team) == whole, told
        check(team, {way: [one for one in whole if way in asked[one]] for way in asked[1]}, told)
    print(f"{sum(outcomes.values())} kills, {len(whole)} loads whole: {outcomes}")
