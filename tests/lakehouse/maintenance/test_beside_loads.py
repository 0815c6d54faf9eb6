"""Whatever is done to a table while dlt loads run beside it, it holds the rows that it should.

Once, by hand, a count and a sum changed through partition, delete, flush, rewrite and merge. It was the flush: see
`lakehouse.upkeep.maintenance.flushed_deletions`; DuckLake's bare one is tried below, ours with everything else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from functools import partial
from typing import Any

import duckdb
import hypothesis
import pytest
from hypothesis import strategies as st

from lakehouse.lake.ducklake import Lake
from lakehouse.upkeep.maintenance import compaction, files, snapshots
from lakehouse.upkeep.maintenance.flushed_deletions import FLUSH, flushed_alone
from lakehouse.writing.loads import loading
from lakehouse.writing.pipelines import lake_pipeline
from tests.lakehouse.maintenance.conftest import Tended

TABLE = "'lakehouse', 't', schema => 'raw'"
BY_HAND = {
    "flush": FLUSH.format("'raw'", "'t'"),
    "rewrite": f"CALL ducklake_rewrite_data_files({TABLE}, delete_threshold => 0)",
    "merge": f"CALL ducklake_merge_adjacent_files({TABLE})",
    "partition": "ALTER TABLE raw.t SET PARTITIONED BY ({column})",
    "partition by month": "ALTER TABLE raw.t SET PARTITIONED BY (month({column}))",
    "no partition": "ALTER TABLE raw.t RESET PARTITIONED BY",
}
ACTS = ["insert", "insert", "one", "delete", "delete", "update", "rename", "tend", *BY_HAND]
REFUSALS = ("different hive partition path", "Failed to read inlined-data aggregates")
"""DuckLake's: after a bare flush of a partitioned table; of a bare rewrite after a column was renamed while rows lay in
the catalog. Nothing may have changed by them."""
FIRST = date(2024, 1, 30)
Row = tuple[int, date, str]


class Loads:
    """dlt loads, one after the other."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.rows = 0
        self.problems: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        """Until it is told to stop."""
        import dlt

        while not self.stop.is_set():
            rows = [{"id": self.rows + n, "items": [{"n": n}]} for n in range(15)]
            try:
                with loading(self.lake, "side", {"raw.side__rows": None}, run="side"):
                    source = dlt.resource(rows, name="side__rows", write_disposition="append")
                    lake_pipeline(self.lake, "side").run(source).raise_on_failed_jobs()
            except Exception as error:
                self.problems.append(str(error))
                return
            self.rows += len(rows)


@contextmanager
def loads_beside(lake: Lake) -> Iterator[Loads]:
    """While this lasts; at least one."""
    loads = Loads(lake)
    lake.settings.pipelines_dir.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=loads.run)
    thread.start()
    try:
        yield loads
    finally:
        loads.stop.set()
        thread.join()


def change(rows: list[Row], act: str, number: int) -> tuple[str, list[Row]]:
    """The statement of an act, `{column}` being the day's, and what the table holds after it."""
    low = 50 * number
    if act == "insert":
        new = [(i, FIRST + timedelta(days=i % 4), "x") for i in range(low, low + 40)]
        return f"INSERT INTO raw.t SELECT range::INT, DATE '{FIRST}' + (range % 4)::INT, 'x' " \
            f"FROM range({low}, {low + 40})", [*rows, *new]  # fmt: skip
    if act == "one":
        return f"INSERT INTO raw.t VALUES ({low}, '{FIRST}', 'one')", [*rows, (low, FIRST, "one")]
    if act == "delete":
        return f"DELETE FROM raw.t WHERE id % 5 = {number % 5}", [row for row in rows if row[0] % 5 != number % 5]
    changed = [(i, day, text + "u" if i % 4 == number % 4 else text) for i, day, text in rows]
    return f"UPDATE raw.t SET text = text || 'u' WHERE id % 4 = {number % 4}", changed


def tried(tended: Tended, acts: list[str]) -> None:
    """Do them, and compare after each."""
    tended.execute("DROP TABLE IF EXISTS raw.t", "CREATE TABLE raw.t (id INT, day DATE, text VARCHAR)")
    rows: list[Row] = []
    column = "day"
    for number, act in enumerate(["insert", "partition", *acts, "tend"]):
        if act == "tend":
            problems = compaction.compact(tended.lake, {}).problems
            assert all(REFUSALS[0] in problem for problem in problems)
            snapshots.expire(tended.forgetful, grace_seconds=0)
        elif act == "rename":
            tended.execute(f"ALTER TABLE raw.t RENAME COLUMN {column} TO day_{number}")
            column = f"day_{number}"
        elif act in BY_HAND:
            try:
                assert flushed_alone(partial(tended.execute, BY_HAND[act].format(column=column)))
            except duckdb.Error as error:
                if not any(words in str(error) for words in REFUSALS):
                    raise
        else:
            statement, rows = change(rows, act, number)
            tended.execute(statement)
        found: list[tuple[Any, ...]] = tended.rows("FROM raw.t ORDER BY ALL")
        assert found == sorted(rows), (number, act)
        assert tended.rows("SELECT count(*), coalesce(sum(id), 0)::INT FROM raw.t") == [
            (len(rows), sum(row[0] for row in rows))
        ]
    files.delete_orphans(tended.lake, hours=1)


def test_a_bare_flush_spoils_a_table_when_another_is_written_beside_it(tended: Tended) -> None:
    """What `flushed_alone` is there for: it can go when this fails. Rows are back, but counted twice as gone."""
    tended.small_increments(3)
    tended.execute("DELETE FROM raw.t WHERE id % 10 = 0", "CREATE TABLE raw.other (id INT)")
    with closing(tended.lake.connect()) as connection:
        connection.execute("BEGIN")
        connection.execute("CALL ducklake_flush_inlined_data('lakehouse', schema_name => 'raw', table_name => 't')")
        tended.execute("INSERT INTO raw.other VALUES (1)")
        connection.execute("COMMIT")
    assert tended.rows("SELECT count(*) FROM raw.t") == [(60 - 2 * 6,)]
    assert len(tended.rows("SELECT id FROM raw.t")) > 60 - 6


@pytest.mark.slow
def test_a_renamed_partition_column_holds_compaction_up_no_more_than_another(tended: Tended) -> None:
    tried(tended, ["insert", "insert", "rename", "insert", "delete", "tend", "insert", "rename", "insert", "merge"])


@pytest.mark.proof
@hypothesis.settings(
    max_examples=int(os.environ.get("EXAMPLES") or 60), deadline=None, print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)  # fmt: skip
@hypothesis.given(st.lists(st.sampled_from(ACTS), min_size=6, max_size=20))
def test_rows_stay_what_they_are_while_loads_run_beside(tended: Tended, acts: list[str]) -> None:
    before = loaded(tended)
    with loads_beside(tended.lake) as loads:
        tried(tended, acts)
    assert loads.problems == []
    assert loaded(tended) == before + loads.rows


def loaded(tended: Tended) -> int:
    """The rows of all loads; each has one in the child table."""
    if not tended.rows("SELECT * FROM information_schema.tables WHERE table_name = 'side__rows__items'"):
        return 0
    ((rows, items),) = tended.rows(
        "SELECT (SELECT count(*) FROM raw.side__rows), (SELECT count(*) FROM raw.side__rows__items)"
    )
    assert rows == items
    return int(rows)
