"""A load that dies anywhere is undone exactly, whatever its dispositions; the next one is equal to one never killed."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import dlt
import pyarrow as pa
import pytest
from dlt.common.destination.client import RunnableLoadJob
from dlt.load.load import Load as DltLoad

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.writing import marks
from lakehouse.writing.loads import abandon, loading
from lakehouse.writing.locks import LockTimeoutError
from lakehouse.writing.pipelines import lake_pipeline
from lakehouse.writing.undo import OWNER_COLUMNS, undo

SHARED = [f"{schema}.{name}" for schema in ("raw", "raw_staging") for name in OWNER_COLUMNS]
WAYS: dict[str, Any] = {
    "appended": "append",
    "replaced": "replace",
    "merged": "merge",
    "upserted": {"disposition": "merge", "strategy": "upsert"},
    "historised": {"disposition": "merge", "strategy": "scd2"},
    "inserted": {"disposition": "merge", "strategy": "insert-only"},
}


class KilledError(BaseException):
    """Stands for the death of the process: dlt catches it as little as a SIGKILL."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a load die after so many jobs have committed; a negative number lets it live."""
    left = [-1]
    run, complete = RunnableLoadJob.run_managed, DltLoad.complete_jobs

    def run_unless_dead(self: Any, *arguments: Any, **options: Any) -> None:
        if left[0] != 0:
            run(self, *arguments, **options)
            left[0] -= 1

    def die(self: Any, *arguments: Any, **options: Any) -> Any:
        if left[0] == 0:
            raise KilledError
        return complete(self, *arguments, **options)

    monkeypatch.setattr(RunnableLoadJob, "run_managed", run_unless_dead)
    monkeypatch.setattr(DltLoad, "complete_jobs", die)
    monkeypatch.setenv("LOAD__WORKERS", "1")
    return lambda jobs: left.__setitem__(0, jobs)


def shop(name: str, load: int, seed: int, *, wide: bool = False, without: tuple[str, ...] = ()) -> Any:
    """A source of every disposition: dict rows with children, and the same as Arrow. `wide` adds a column and a table.

    The rows of a load are told by `seed` and its number, so that two pipelines can get the same.
    """
    chance = random.Random(f"{seed} {load}")
    keys = range(40) if load == 1 else sorted(chance.sample(range(60), chance.choice((1, 5, 25))))
    rows = [
        {"id": key, "value": chance.randrange(5), "lines": [{"n": n} for n in range(chance.randrange(3))]}
        | ({"extra": f"x{key}", "more": [{"k": 1}]} if wide else {})
        for key in keys
    ]

    def resource(way: str, table: str, data: Any) -> Any:
        key = "id" if isinstance(WAYS[way], dict) or way == "merged" else None
        return dlt.resource(data, name=f"{name}__{table}", primary_key=key, write_disposition=WAYS[way])

    @dlt.source(name=name)
    def source() -> Any:
        flat = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
        for way in WAYS:
            if way not in without:
                yield resource(way, way, rows)
            if way in ("appended", "merged") and way not in without:
                yield resource(way, f"{way}_arrow", pa.Table.from_pylist(flat))

    return source()


def contents(lake: Lake, sql: str = "") -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every raw table by table, dlt's own included; `sql` filters the tables' names."""
    with closing(lake.connect(read_only=True)) as connection:
        tables = connection.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_catalog = 'lakehouse' "
            f"AND table_schema IN ('raw', 'raw_staging') {sql}"
        ).fetchall()
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for (table,) in tables}


def told(lake: Lake, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """What a source's tables say, without what two loads of the same rows may differ in."""
    found = {}
    with closing(lake.connect(read_only=True)) as connection:
        for table in contents(lake, f"AND table_schema = 'raw' AND starts_with(table_name, '{name}__')"):
            described = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
            columns = sorted(column for (column, *_) in described if not column.startswith("_dlt_"))
            if columns:
                open_rows = "_dlt_valid_to IS NULL" if "_dlt_valid_to" in [row[0] for row in described] else "true"
                found[table.removeprefix(f"raw.{name}__")] = sorted(
                    connection.execute(f"SELECT {', '.join(columns)}, {open_rows} FROM {table}").fetchall(), key=repr
                )
    return found


def run(lake: Lake, source: Any) -> None:
    lake_pipeline(lake, source.name).run(source).raise_on_failed_jobs()


def kill_and_undo(lake: Lake, dying: Callable[[int], None], jobs: int, seed: int, *, wide: bool) -> None:
    """One killed load, its undo, and the load again, compared with a source that was never killed."""
    run(lake, shop("shop", 1, seed))
    run(lake, shop("twin", 1, seed))
    snapshot, before = lake.newest_snapshot(), contents(lake)
    dying(jobs)
    with pytest.raises(KilledError):
        run(lake, shop("shop", 2, seed, wide=wide))
    dying(-1)
    assert jobs == 0 or contents(lake) != before
    run(lake, shop("twin", 2, seed, wide=wide))  # meanwhile, in dlt's shared tables too
    twin = {table: rows for table, rows in contents(lake).items() if table in SHARED}

    undo(lake, "shop", snapshot)
    after = contents(lake)
    assert {name for name in after if ".shop__" in name} <= {name for name in before if ".shop__" in name}
    for table, rows in before.items():
        width = len(rows[0]) if rows else 0
        if table.startswith("raw.shop__"):
            assert [row[:width] for row in after[table]] == rows, table
            assert all(value is None for row in after[table] for value in row[width:]), table
    for table in twin:
        assert [row for row in after[table] if "twin" in row] == [row for row in twin[table] if "twin" in row], table
        assert [row for row in after[table] if "shop" in row] == [row for row in before[table] if "shop" in row], table

    run(lake, shop("shop", 2, seed, wide=wide))
    assert told(lake, "shop") == told(lake, "twin")


@pytest.mark.slow
@pytest.mark.proof  # tests/sources/test_killed_load.py kills one each time
@pytest.mark.parametrize("seed", range(40))
def test_a_load_killed_after_some_of_its_commits_is_undone(lake: Lake, dying: Callable[[int], None], seed: int) -> None:
    kill_and_undo(lake, dying, seed % 20, seed, wide=seed % 2 == 1)


def small(name: str, values: list[Any]) -> Any:
    """A source of one appended table."""

    @dlt.source(name=name)
    def source() -> Any:
        return dlt.resource([{"value": value} for value in values], name=f"{name}__numbers")

    return source()


def load(lake: Lake, source: Any) -> None:
    with loading(lake, source.name, {}, run="a test"):
        run(lake, source)


def load_marks(lake: Lake) -> list[str]:
    with closing(connect(lake.settings)) as connection:
        return [mark.scope for mark in marks.read(connection, "load")]


def test_a_load_that_fails_is_undone_and_holds_nothing(lake: Lake) -> None:
    load(lake, small("shop", [1]))
    before = contents(lake)
    with pytest.raises(ValueError, match="after its last commit"):
        with loading(lake, "shop", {}, run="a test"):
            run(lake, small("shop", [2]))
            raise ValueError("after its last commit")
    assert load_marks(lake) == []
    assert contents(lake) == before
    load(lake, small("shop", [2]))
    assert [value for value, *_ in contents(lake)["raw.shop__numbers"]] == [1, 2]


@pytest.mark.slow
def test_an_abandoned_load_leaves_the_tables_as_they_were_and_a_second_time_does_nothing(
    lake: Lake, dying: Callable[[int], None]
) -> None:
    load(lake, small("shop", [1]))
    before = contents(lake)
    dying(1)
    with pytest.raises(KilledError):
        load(lake, small("shop", [2]))
    dying(-1)
    assert load_marks(lake) == ["shop"]
    (sentence,) = abandon(lake, "shop", run="a test")
    assert "undone: load of shop" in sentence
    assert (load_marks(lake), contents(lake)) == ([], before)
    assert abandon(lake, "shop", run="a test") == []


def test_a_load_at_work_is_not_abandoned(lake: Lake) -> None:
    with loading(lake, "shop", {}, run="a load"):
        with pytest.raises(LockTimeoutError, match="a load"):
            abandon(lake, "shop", run="a test")


@pytest.mark.slow
def test_a_table_that_a_load_dropped_or_made_anew_is_there_again(lake: Lake) -> None:
    load(lake, small("shop", [1]))
    snapshot, before = lake.newest_snapshot(), contents(lake)
    with closing(lake.connect()) as connection:
        connection.execute("CREATE OR REPLACE TABLE raw.shop__numbers AS SELECT 'x' AS other")
        undo(lake, "shop", snapshot)
        assert contents(lake) == before
        connection.execute("ALTER TABLE raw.shop__numbers RENAME TO shop__renamed")
        undo(lake, "shop", snapshot)
    assert contents(lake) == before
