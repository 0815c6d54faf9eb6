"""Partitions of any value, through any history of the table: readers get what the lake holds."""

from __future__ import annotations

import random
from contextlib import closing

import pytest

from lakehouse.lake.ducklake import quoted
from lakehouse.releases.reading import connect_release
from lakehouse.upkeep.maintenance import compaction
from lakehouse.writing.graph import ServedTable
from tests.lakehouse.releases.conftest import Publisher, served

LONG = "Масло подсолнечное рафинированное дезодорированное"
NAMES = [
    LONG, "x" * 256, "Ж" * 900, "a", "A", "", None, "a/b", "a=b&c", "é%2F", "..", ".", " ends. ", "two\nlines", "😀",
    "__HIVE_DEFAULT_PARTITION__", "NULL", "null", "it's \"q\"", "\\back", "[1]*?{x}", "\u202eleft", "ß", "ẞ",
    "%00", "01",
]  # fmt: skip
OTHERS = {
    "DATE": ["2024-01-01", "0001-01-01", "infinity", None],
    "TIMESTAMP": ["2024-01-01 00:00:00.000001", "1969-12-31 23:59:59", None],
    "TIMESTAMP_NS": ["2024-01-01 00:00:00.000000001", "2024-01-01 00:00:00.000000002"],
    "TIMESTAMPTZ": ["2024-01-01 00:00:00.5+02", "1900-01-01 00:00:00+00", None],
    "DOUBLE": ["0.1", "NaN", "Infinity", "1e300", "-1", None],
    "DECIMAL(38,10)": ["1234567890123456789012345678.0123456789", "0", None],
    "HUGEINT": ["99999999999999999999999999999999999999", "-5", None],
    "BOOLEAN": ["true", "false", None],
    "UUID": ["00000000-0000-0000-0000-000000000001", None],
    "BLOB": ["a/b=c", "abc", ""],  # others DuckLake 1.0 refuses to partition by
    "TIME": ["00:00:00.000001", "23:59:59", None],
}


def check(publisher: Publisher, *tables: ServedTable) -> None:
    """What readers get is what the lake holds, each partition from its own files."""
    publisher.publish(*tables)
    for table in tables:
        sql = f"SELECT COLUMNS(*)::VARCHAR FROM {table.name} ORDER BY ALL"
        with closing(publisher.lake.connect(read_only=True)) as connection:
            wanted = connection.execute(sql).fetchall()
        with closing(connect_release(publisher.lake.settings, publisher.environment)[0]) as connection:
            assert connection.execute(sql).fetchall() == wanted, table.name


def partitioned(publisher: Publisher, name: str, kind: str, values: list[str | None], copies: int = 12) -> None:
    rows = ", ".join(f"({'NULL' if value is None else quoted(value)})" for value in values)
    publisher.execute(
        f"CREATE OR REPLACE TABLE {name} (label {kind}, i BIGINT)",
        f"ALTER TABLE {name} SET PARTITIONED BY (label)",
        f"INSERT INTO {name} SELECT v::{kind}, i FROM (VALUES {rows}) s(v), range({copies}) t(i)",
    )


@pytest.mark.slow
def test_a_partition_may_have_any_value(publisher: Publisher) -> None:
    """No file system takes a folder's name of more than 255 bytes, and no store a key of more than 1,024."""
    by = {"partitioned_by": ("label",)}
    partitioned(publisher, "marts.t", "VARCHAR", NAMES)
    check(publisher, served("marts.t", "1", **by))
    # Some go, one changes, one comes.
    publisher.execute(
        f"DELETE FROM marts.t WHERE label IN ({quoted(LONG)}, 'a', '..') OR label IS NULL",
        "UPDATE marts.t SET i = i + 100 WHERE label IN ('__HIVE_DEFAULT_PARTITION__', 'A')",
        f"INSERT INTO marts.t VALUES ({quoted('й' * 400)}, 1)",
    )
    done = publisher.publish(served("marts.t", "2", **by))["marts.t"]
    assert done.files_shared == len(NAMES) - 6
    check(publisher, served("marts.t", "3", **by))
    # One by one, as any DuckDB reads them without the catalog.
    folder = publisher.lake.storage.uri_of("published/prod/data/marts/t/")
    with closing(publisher.reader()) as reader, closing(publisher.lake.connect(read_only=True)) as lake:
        for file in done.table.files:
            rows = reader.execute(
                "SELECT label, i FROM read_parquet(?, hive_partitioning = false) ORDER BY ALL", [f"{folder}{file.path}"]
            ).fetchall()
            label = file.partition["label"]
            same = lake.execute("SELECT label, i FROM marts.t WHERE label IS NOT DISTINCT FROM ? ORDER BY ALL", [label])
            assert rows == same.fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
@pytest.mark.parametrize(
    "kinds", [("DATE", "TIMESTAMP_NS", "DOUBLE", "BLOB"), pytest.param(tuple(OTHERS), marks=pytest.mark.proof)]
)
def test_a_partition_may_be_of_any_type(publisher: Publisher, kinds: tuple[str, ...]) -> None:
    tables = []
    for kind, values in ((kind, OTHERS[kind]) for kind in kinds):
        name = f"marts.by_{kind.split('(')[0].lower()}"
        partitioned(publisher, name, kind, values)
        tables.append(name)
    by = {"partitioned_by": ("label",)}
    check(publisher, *(served(name, "1", **by) for name in tables))
    for name in tables:
        publisher.execute(
            f"INSERT INTO {name} SELECT max(label), 7 FROM {name}",
            f"DELETE FROM {name} WHERE label = (SELECT min(label) FROM {name})",
        )
    check(publisher, *(served(name, "2", **by) for name in tables))


STEPS = {
    "made anew": "CREATE OR REPLACE TABLE marts.t AS SELECT 'v' || (i % 5) AS label, i FROM range({n}) t(i)",
    "made anew, a partition less": "CREATE OR REPLACE TABLE marts.t AS FROM marts.t WHERE label <> 'v1'",
    "dropped and made": "DROP TABLE marts.t;"
    "CREATE TABLE marts.t AS SELECT 'v' || (i % 3) AS label, i FROM range({n}) t(i)",
    "another column": "CREATE OR REPLACE TABLE marts.t AS SELECT label, i, {n} AS more FROM marts.t",
    "a column less": "CREATE OR REPLACE TABLE marts.t AS SELECT label, i FROM marts.t",
    "a column emptied": "ALTER TABLE marts.t RESET PARTITIONED BY;"
    "ALTER TABLE marts.t DROP COLUMN i; ALTER TABLE marts.t ADD COLUMN i BIGINT",
    "a column renamed": "ALTER TABLE marts.t RESET PARTITIONED BY; ALTER TABLE marts.t RENAME i TO j;"
    "ALTER TABLE marts.t ADD COLUMN i BIGINT; UPDATE marts.t SET i = j % 7; ALTER TABLE marts.t DROP COLUMN j",
    "the key renamed": "ALTER TABLE marts.t RESET PARTITIONED BY; ALTER TABLE marts.t RENAME label TO old;"
    "ALTER TABLE marts.t ADD COLUMN label VARCHAR; UPDATE marts.t SET label = 'w' || i % 2;"
    "ALTER TABLE marts.t DROP COLUMN old",
    "the key of another type": "CREATE OR REPLACE TABLE marts.t AS SELECT i % 4 AS label, i FROM range({n}) t(i)",
    "a partition deleted": "DELETE FROM marts.t WHERE label::VARCHAR IN ('v2', '2')",
    "all deleted": "DELETE FROM marts.t",
    "rows more": "INSERT INTO marts.t (label, i) SELECT NULL, {n}",
    "stored otherwise": "ALTER TABLE marts.t SET PARTITIONED BY (i)",
    "stored by nothing": "ALTER TABLE marts.t RESET PARTITIONED BY",
}
MEANWHILE = ("released", "failed", "given up", "compacted", "rolled back", "by nothing")


@pytest.mark.slow
@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
@pytest.mark.parametrize(
    ("seed", "count"), [(1, 7), *(pytest.param(seed, None, marks=pytest.mark.proof) for seed in range(1, 6))]
)
def test_whatever_became_of_the_table_the_next_release_holds_it(
    publisher: Publisher, seed: int, count: int | None
) -> None:
    """Several things happen between two releases; some releases are cut and never published."""
    chance = random.Random(seed)
    publisher.execute(STEPS["made anew"].format(n=40))
    check(publisher, served("marts.t", "0", partitioned_by=("label",)))
    steps = [*STEPS]
    chance.shuffle(steps)
    for number, step in enumerate(steps[:count], 1):
        for statement in STEPS[step].format(n=30 + number).split(";"):
            publisher.execute(statement)
        way = chance.choice(MEANWHILE)
        if way == "failed":
            publisher.give_up(publisher.cut(served("marts.t", f"{number} failed", partitioned_by=("label",))))
        elif way == "compacted":
            compaction.compact(publisher.lake, {})
        elif chance.random() < 0.3:
            continue
        by = () if way == "by nothing" else ("label",)
        check(publisher, served("marts.t", str(number), partitioned_by=by))


@pytest.mark.slow
def test_a_partition_with_a_long_value_is_compacted(publisher: Publisher) -> None:
    """DuckLake's own folders would be named by it: neither a write nor a merge got past."""
    partitioned(publisher, "marts.t", "VARCHAR", [LONG, "x" * 300, "a"], copies=4)
    for i in range(6):
        publisher.execute(f"INSERT INTO marts.t SELECT label, {i} FROM (SELECT DISTINCT label FROM marts.t), range(4)")
    with closing(publisher.lake.connect(read_only=True)) as connection:
        before = connection.execute("FROM marts.t ORDER BY ALL").fetchall()
    done = compaction.compact(publisher.lake, {})
    assert not done.problems
    with closing(publisher.lake.connect(read_only=True)) as connection:
        assert connection.execute("FROM marts.t ORDER BY ALL").fetchall() == before
    check(publisher, served("marts.t", "1", partitioned_by=("label",)))
