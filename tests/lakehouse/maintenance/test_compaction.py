"""Compaction makes few files of many, and nobody loses anything by it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import duckdb
import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.feed import is_whole
from lakehouse.releases import log
from lakehouse.releases.rule import changed_at
from lakehouse.upkeep.maintenance import compaction
from lakehouse.upkeep.maintenance.measures import TableFiles, measure
from lakehouse.writing import marks
from lakehouse.writing.locks import environment_lock, holding, pipeline_lock, tables_lock
from tests.lakehouse.maintenance.conftest import Tended

PIPELINES = {"raw.t": "source"}


def files_of(tended: Tended, table: str = "raw.t") -> TableFiles:
    """How the table is stored."""
    return next(found for found in measure(tended.ledger).tables if found.table == table)


@pytest.mark.slow
def test_many_small_files_become_one_and_deleted_rows_leave_it(tended: Tended) -> None:
    tended.small_increments(40)
    tended.execute("DELETE FROM raw.t WHERE id % 2 = 0", "INSERT INTO raw.t VALUES (-1, 'inlined')")
    before = tended.rows("FROM raw.t ORDER BY id")
    dry = compaction.compact(tended.lake, PIPELINES, dry_run=True)
    assert (files_of(tended).files, dry.figures["files_before"]) == (40, 40)
    done = compaction.compact(tended.lake, PIPELINES)
    stored = files_of(tended)
    assert (stored.files, stored.delete_files, stored.dead_bytes, stored.inlined_rows) == (1, 0, 0, 0)
    assert tended.rows("FROM raw.t ORDER BY id") == before
    assert not done.problems
    assert not stored.needs_compaction


def test_a_table_waits_for_its_loader(tended: Tended) -> None:
    tended.small_increments(5)
    told: list[str] = []
    with holding(tended.lake.settings, [pipeline_lock("source")], holder="run 1"):
        held = compaction.compact(tended.lake, PIPELINES, wait_seconds=0.1, report=told.append)
    assert files_of(tended).files == 5
    assert "raw.t is left for the next time: pipeline source was held by lakehouse run 1" in str(held.figures["left"])
    assert not held.problems
    released = threading.Event()

    def load() -> None:
        with holding(tended.lake.settings, [pipeline_lock("source")], holder="run 2"):
            released.wait(30)

    loader = threading.Thread(target=load)
    loader.start()

    def waiting(sentence: str) -> None:
        told.append(sentence)
        released.set()

    while not tended.ledger.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchall():
        pass
    done = compaction.compact(tended.lake, PIPELINES, report=waiting)
    loader.join()
    assert not done.problems
    assert "waiting for pipeline source, held by lakehouse run 2" in told


def test_an_environment_that_begins_meanwhile_is_waited_for(tended: Tended) -> None:
    tended.small_increments(5)
    with holding(tended.lake.settings, [tables_lock(shared=True)], holder="deploy 1"):
        held = compaction.compact(tended.lake, PIPELINES, wait_seconds=0.1)
    assert "physical tables was held by lakehouse deploy 1" in str(held.figures["left"])
    assert files_of(tended).files == 5


def test_inlined_rows_that_move_into_a_file_are_no_new_content(tended: Tended) -> None:
    tended.small_increments(1)
    tended.execute("DELETE FROM raw.t WHERE id = 3", "INSERT INTO raw.t VALUES (-1, 'inlined')")
    known = changed_at(tended.ledger)
    rows = tended.rows("FROM raw.t ORDER BY ALL")
    compaction.compact(tended.lake, PIPELINES)
    assert files_of(tended).inlined_rows == 0
    assert changed_at(tended.ledger) == known
    assert tended.rows("FROM raw.t ORDER BY ALL") == rows


@pytest.mark.slow
def test_deletions_that_ducklake_flushed_and_kept_too_hold_nothing_up(tended: Tended) -> None:
    """As it was found under load: without the repair DuckLake refuses every later compaction of the table."""
    flush = "CALL ducklake_flush_inlined_data('lakehouse', schema_name => 'raw', table_name => 't')"
    tended.execute("CREATE TABLE raw.t (id INT, text VARCHAR)")
    for number in range(4):
        tended.execute(f"INSERT INTO raw.t VALUES ({number}, 'one')", flush)
    tended.execute("DELETE FROM raw.t WHERE id < 3")
    (table,) = tended.ledger.execute(
        "SELECT 'lakehouse.' || table_name FROM information_schema.tables WHERE table_name ~ '^ducklake_inlined_delete'"
    ).fetchone() or ("",)
    kept = tended.ledger.execute(f"SELECT * FROM {table}").fetchall()
    assert len(kept) == 3
    tended.execute(flush)
    for row in kept:
        tended.ledger.execute(f"INSERT INTO {table} VALUES (%s, %s, %s)", row)
    tended.execute("INSERT INTO raw.t VALUES (9, 'later')", "DELETE FROM raw.t WHERE id = 3")
    told: list[str] = []
    done = compaction.compact(tended.lake, PIPELINES, report=told.append)
    assert not done.problems
    assert any("flushed" in sentence for sentence in told)
    assert tended.rows("FROM raw.t") == [(9, "later")]
    assert files_of(tended).inlined_rows == 0


def test_a_release_that_waits_to_be_published_keeps_its_past(tended: Tended) -> None:
    snapshot = tended.small_increments(5)
    release = log.write(
        tended.ledger, "prod", snapshot, [], code_version="v", run="run 1", author="tester", changed=["test"]
    )
    held = compaction.compact(tended.lake, PIPELINES, wait_seconds=0.1)
    assert "release 1 of prod is cut and not published yet" in str(held.figures["left"])
    assert files_of(tended).files == 5
    log.published(tended.ledger, release)
    assert not compaction.compact(tended.lake, PIPELINES).problems
    assert files_of(tended).files == 1


def test_nobody_cuts_a_release_meanwhile(tended: Tended) -> None:
    tended.small_increments(5)
    tended.ledger.execute(
        "INSERT INTO ledger.deployments (environment, content_key, plan_id, run) VALUES ('dev_x', '', '', '')"
    )
    with holding(tended.lake.settings, [environment_lock("dev_x")], holder="run 3"):
        held = compaction.compact(tended.lake, PIPELINES, wait_seconds=0.1)
    assert "environment dev_x was held by lakehouse run 3" in str(held.figures["left"])
    assert files_of(tended).files == 5


def test_a_load_that_was_killed_keeps_what_its_repair_reads(tended: Tended) -> None:
    snapshot = tended.small_increments(3)
    tended.execute("INSERT INTO raw.t SELECT range::INT, 'killed' FROM range(100)")
    marks.write(tended.ledger, "load", "source", run="run 1", snapshot=snapshot, details={"tables": {"raw.t": None}})
    held = compaction.compact(tended.lake, PIPELINES, wait_seconds=0.1)
    assert "the repair of the load of source" in str(held.figures["left"])
    with closing(tended.lake.connect(read_only=True)) as connection:
        assert is_whole(connection, "raw.t", snapshot, snapshot + 1)


def test_one_table_in_use_holds_up_no_other(tended: Tended) -> None:
    tended.small_increments(3, "raw.t")
    tended.small_increments(3, "raw.u")
    with holding(tended.lake.settings, [pipeline_lock("source")], holder="run 1"):
        done = compaction.compact(tended.lake, {"raw.t": "source", "raw.u": "other"}, wait_seconds=0.1)
    assert str(done.figures["left"]).startswith("raw.t is left")
    assert files_of(tended, "raw.u").files == 1


class Overtaken:
    """A connection before whose commits somebody else commits, and after whose commits somebody looks."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, before: Callable[[], None], after: Callable[[], None]):
        self.connection, self.before, self.after = connection, before, after

    def execute(self, sql: str, *values: object) -> duckdb.DuckDBPyConnection:
        if sql != "COMMIT":
            return self.connection.execute(sql, *values)
        self.before()
        done = self.connection.execute(sql)
        self.after()
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.mark.parametrize("times", [1, 1_000])
def test_deleted_rows_stay_deleted_when_others_commit_during_the_flush(
    tended: Tended, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """One commit beside each of the first tries; when it never ends, the table is left for the next time."""
    tended.small_increments(3)
    tended.execute("DELETE FROM raw.t WHERE id % 10 = 0", "CREATE TABLE raw.other (id INT)")
    content = "SELECT count(*), sum(id)::INT FROM raw.t"
    kept = tended.rows(content)
    connect, commits = Lake.connect, iter(range(times))
    seen = []

    def another() -> None:
        if next(commits, None) is not None:
            with closing(connect(tended.lake)) as connection:
                connection.execute("INSERT INTO raw.other VALUES (1)")

    def look() -> None:
        with closing(connect(tended.lake)) as connection:
            seen.append(connection.execute(content).fetchall())

    monkeypatch.setattr(Lake, "connect", lambda lake, **how: Overtaken(connect(lake, **how), another, look))
    done = compaction.compact(tended.lake, PIPELINES)
    assert not done.problems
    assert seen == [kept] * len(seen)
    assert ("others commit to the lake all the time" in str(done.figures["left"])) == (times > 1)
    assert (files_of(tended).inlined_rows > 0) == (times > 1)


LONG = "ж" * 60


@pytest.mark.parametrize("value", ["2024-01-01", LONG])
def test_a_partitioned_tables_few_rows_join_its_files(tended: Tended, value: str) -> None:
    """Whichever came first; and with a value that is too long for a folder's name."""
    tended.execute(
        "CREATE TABLE raw.t (id INT, day VARCHAR)", "ALTER TABLE raw.t SET PARTITIONED BY (day)",
        f"INSERT INTO raw.t SELECT range, '{value}' FROM range(30)", "DELETE FROM raw.t WHERE id = 7",
        f"INSERT INTO raw.t VALUES (-1, '{value}')",
    )  # fmt: skip
    for number in range(3):
        before = tended.rows("FROM raw.t ORDER BY id")
        assert not compaction.compact(tended.lake, PIPELINES).problems
        stored = files_of(tended)
        assert (stored.files, stored.inlined_rows, stored.needs_compaction) == (1, 0, False)
        assert tended.rows("FROM raw.t ORDER BY id") == before
        tended.execute(f"INSERT INTO raw.t VALUES (-2 - {number}, '{value}')")
        tended.execute(f"INSERT INTO raw.t SELECT range, '{value}' FROM range(40, 60)")


def test_rows_that_came_while_a_table_was_partitioned_join_its_files(tended: Tended) -> None:
    tended.execute(
        "CREATE TABLE raw.t (id INT, day DATE)", "INSERT INTO raw.t SELECT range, '2024-01-01' FROM range(40)",
        "ALTER TABLE raw.t SET PARTITIONED BY (day)", "UPDATE raw.t SET id = id + 100 WHERE id % 4 = 3",
        "INSERT INTO raw.t SELECT range + 200, '2024-01-01' FROM range(40)", "ALTER TABLE raw.t RENAME COLUMN day TO d",
        "ALTER TABLE raw.t SET PARTITIONED BY (month(d))", "DELETE FROM raw.t WHERE id % 5 = 4",
        "ALTER TABLE raw.t RESET PARTITIONED BY",
    )  # fmt: skip
    before = tended.rows("FROM raw.t ORDER BY id")
    for _ in range(2):
        assert not compaction.compact(tended.lake, PIPELINES).problems
        assert tended.rows("FROM raw.t ORDER BY id") == before
        tended.execute("UPDATE raw.t SET id = id WHERE id < 5")
    assert files_of(tended).foldered_files == 0


def test_files_in_folders_of_partitions_join_the_others(tended: Tended) -> None:
    """As somebody's own flush leaves them, and lakes of before."""
    tended.execute(
        "CREATE TABLE raw.t (id INT, day VARCHAR)", "ALTER TABLE raw.t SET PARTITIONED BY (day)",
        "INSERT INTO raw.t VALUES (1, 'a'), (2, NULL)",
        "CALL ducklake_flush_inlined_data('lakehouse')",
        "INSERT INTO raw.t SELECT range + 10, 'a' FROM range(30)",
    )  # fmt: skip
    assert files_of(tended).foldered_files == 2
    before = tended.rows("FROM raw.t ORDER BY id")
    assert not compaction.compact(tended.lake, PIPELINES).problems
    assert (files_of(tended).files, files_of(tended).foldered_files) == (2, 0)
    assert tended.rows("FROM raw.t ORDER BY id") == before
