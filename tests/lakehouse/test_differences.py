"""Two tables compared: by key, as whole rows, with other columns and types."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from lakehouse.lake.differences import ChangedRow, compare


@pytest.fixture
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    """Ten rows each: five are equal, two changed, two are gone, two are new, one of them under a key with NULL."""
    with duckdb.connect() as connection:
        connection.execute("""
            CREATE TABLE a AS SELECT i AS id, i * 1.5::DOUBLE AS x, 'n' || i AS name, now() AS computed_at, 1 AS gone
            FROM range(9) t(i);
            CREATE TABLE b AS SELECT i::BIGINT AS id, CASE i WHEN 3 THEN 99 WHEN 5 THEN i * 1.5 + 1e-12 ELSE i * 1.5 END
            ::DOUBLE AS x, CASE WHEN i = 4 THEN NULL ELSE 'n' || i END AS name, now() + INTERVAL 1 DAY AS computed_at,
            true AS new FROM range(2, 10) t(i);
            INSERT INTO b VALUES (NULL, 1, 'null', now(), true);
        """)
        yield connection


def test_rows_are_matched_by_key(tables: duckdb.DuckDBPyConnection) -> None:
    found = compare(tables, "a", "b", ["id"], sample=5)
    assert (found.rows_left, found.rows_right, found.matched, found.changed) == (9, 9, 5, 2)
    assert (found.only_left, found.only_right) == (2, 2)
    assert found.column_match_percent == {
        "x": pytest.approx(600 / 7, abs=1e-3),
        "name": pytest.approx(600 / 7, abs=1e-3),
    }
    assert (found.columns_added, found.columns_removed) == ({"new": "BOOLEAN"}, {"gone": "INTEGER"})
    assert found.columns_retyped == {}
    assert found.changed_sample == (
        ChangedRow({"id": 3}, {"x": (4.5, 99.0)}),
        ChangedRow({"id": 4}, {"name": ("n4", None)}),
    )
    assert [row["id"] for row in found.only_left_sample] == [0, 1]
    assert [row["id"] for row in found.only_right_sample] == [9, None]
    assert found.ignored == ("computed_at",)
    assert not found.same


def test_without_a_key_whole_rows_are_counted_both_ways(tables: duckdb.DuckDBPyConnection) -> None:
    tables.execute(
        "CREATE TABLE c AS SELECT unnest([1, 1, 2]) AS v; CREATE TABLE d AS SELECT unnest([1, 2, 2, 3]) AS v"
    )
    found = compare(tables, "c", "d", sample=3)
    assert (found.matched, found.changed, found.only_left, found.only_right) == (2, None, 1, 2)
    assert found.only_right_sample == ({"v": 2}, {"v": 3})
    assert "no key" in found.note


def test_a_key_that_is_none_is_said_and_not_multiplied(tables: duckdb.DuckDBPyConnection) -> None:
    tables.execute("INSERT INTO a SELECT * FROM a WHERE id < 2")
    found = compare(tables, "a", "b", ["id"])
    assert "names 2 rows twice" in found.note
    assert (found.rows_left, found.changed) == (11, None)


def test_a_retyped_column_is_compared_by_value(tables: duckdb.DuckDBPyConnection) -> None:
    tables.execute("CREATE TABLE e AS SELECT id, x, name::VARCHAR AS name, id::VARCHAR AS t FROM a")
    tables.execute("CREATE TABLE f AS SELECT id::HUGEINT AS id, x, name, id AS t FROM a")
    found = compare(tables, "e", "f", ["id"])
    assert found.columns_retyped == {"id": ("BIGINT", "HUGEINT"), "t": ("VARCHAR", "BIGINT")}
    assert (found.matched, found.changed) == (9, 0)


def test_equal_and_empty_tables_are_the_same(tables: duckdb.DuckDBPyConnection) -> None:
    assert compare(tables, "a", "a", ["id"]).same
    tables.execute("CREATE TABLE g AS FROM a WHERE false")
    found = compare(tables, "g", "g", ["id"], sample=2)
    assert found.same
    assert found.column_match_percent == {"x": 100.0, "name": 100.0, "gone": 100.0}


def test_no_sample_shows_a_hidden_column(tables: duckdb.DuckDBPyConnection) -> None:
    tables.execute("CREATE TABLE p AS SELECT 1 AS id, 'ann' AS Name, 1 AS n UNION ALL SELECT 2, 'bob', 2")
    tables.execute("CREATE TABLE q AS SELECT 1 AS id, 'eve' AS Name, 2 AS n UNION ALL SELECT 3, 'joe', 3")
    by_id = compare(tables, "p", "q", ["id"], sample=5, hidden=["name"])
    by_name = compare(tables, "p", "q", ["Name"], sample=5, hidden=["name"])
    as_sets = compare(tables, "p", "q", sample=5, hidden=["name"])
    assert by_id.column_match_percent["Name"] == 0.0, "it is compared all the same"
    assert by_id.changed_sample == (ChangedRow({"id": 1}, {"Name": ("(hidden)", "(hidden)"), "n": (1, 2)}),)
    assert by_id.only_left_sample == ({"id": 2, "Name": "(hidden)", "n": 2},)
    for found in (by_id, by_name, as_sets):
        assert not {"ann", "bob", "eve", "joe"} & set(str(found).replace("'", " ").split())
