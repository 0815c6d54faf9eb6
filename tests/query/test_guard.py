"""What the guard lets through reads served tables and nothing else, whatever DuckDB takes a name for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import hypothesis
import pytest
from hypothesis import strategies as st

from lakehouse.query.engine.guard import Statement, check
from lakehouse.query.engine.parsing import Parser
from lakehouse.query.engine.plans import check_plan, described
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.sessions import OpenRelease
from tests.query.release_files import SERVED, open_release


@dataclass
class Asker:
    """Asks as a worker does."""

    parser: Parser
    release: OpenRelease
    folder: str

    def check(self, sql: str) -> Statement:
        return check(self.parser, sql, SERVED)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        statement = self.check(sql)
        session = self.release.session(statement)
        check_plan(session, statement.sql, None, asks_catalog=statement.asks_catalog)
        return session.execute(statement.sql).fetchall()


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("guard")
    releases, call = open_release(folder)
    yield Asker(Parser(), releases.open(call)[0], str(folder))
    releases.close(call)


# ------------------------------------------------------------------------------------------ names and scopes

NAMES = st.sampled_from(["a", "days", "duckdb_databases", "duckdb_settings", "pg_settings", "__release"])
# What Python and DuckDB fold differently, beside what both do.
FOLDS = {"k": ["k", "K", "\u212a"], "s": ["s", "S", "\u017f"], "i": ["i", "I", "\u0130", "\u0131"]}


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    letters = [draw(st.sampled_from(FOLDS[one])) if one in FOLDS and draw(st.booleans()) else one for one in name]
    word = "".join(letters)
    if draw(st.integers(0, 3)) == 0:
        word = word.upper()
    return f'"{word}"' if not word.isascii() or draw(st.booleans()) else word


@st.composite
def tables(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 19))
    if kind < 8:
        return draw(spelled(draw(NAMES)))
    if kind < 19:
        return draw(st.sampled_from(["marts.days", "lakehouse.marts.days", '"Marts"."DAYS"', "range(2)"]))
    schema = draw(st.sampled_from(["main", "system", "pg_catalog", "__release.marts", "temp", "recurring", "marts"]))
    return f"{schema}.{draw(spelled(draw(NAMES)))}"


def selects(depth: int) -> st.SearchStrategy[str]:
    plain = tables().map(lambda name: f"SELECT 1 AS x FROM {name}")
    if not depth:
        return plain
    inner = selects(depth - 1)

    @st.composite
    def nested(draw: st.DrawFn) -> str:
        one, two = draw(inner), draw(inner)
        word = draw(NAMES)
        name, other = draw(spelled(word)), draw(spelled(draw(st.sampled_from([word, word, "a", "days"]))))
        shape = draw(st.sampled_from([
            "WITH {n} AS ({a}) {b}", "WITH RECURSIVE {n} AS ({a} UNION ALL {b}) SELECT 1 AS x FROM {o}",
            "WITH RECURSIVE {n} AS ({a} UNION {b}) SELECT 1 AS x FROM {n}",
            "WITH RECURSIVE {n}(x) USING KEY (x) AS ({a} UNION {b}) SELECT 1 AS x FROM {n}",
            "WITH {n} AS MATERIALIZED ({a}), {o} AS NOT MATERIALIZED ({b}) SELECT 1 AS x FROM {n}, {o}",
            "WITH RECURSIVE {n} AS ({a}), {o} AS ({b} UNION ALL SELECT 1 AS x FROM {o}) SELECT 1 AS x FROM {n}",
            "SELECT 1 AS x FROM ({a}) {n}, LATERAL ({b}) {o}", "({a}) UNION ALL ({b})",
            "SELECT 1 AS x FROM (WITH {n} AS ({a}) SELECT 1 AS x FROM {o}) t, ({b}) u",
            "SELECT (SELECT max(x) FROM ({a}) q) AS x FROM {n}", "SELECT 1 AS x WHERE EXISTS ({a})",
            "SUMMARIZE {a}", "SELECT 1 AS x FROM (DESCRIBE {a}) {n}",
        ]))  # fmt: skip
        return shape.format(n=name, o=other, a=one, b=two)

    return st.one_of(plain, nested(), nested())


def test_duckdb_binds_what_the_guard_took_it_for(asker: Asker) -> None:
    passed = []

    @hypothesis.settings(max_examples=400, deadline=None, database=None)
    @hypothesis.given(selects(3))
    def tried(sql: str) -> None:
        try:
            statement = asker.check(sql)
        except QueryError:
            return
        session = asker.release.session(statement)
        try:
            # Raises QueryError where DuckDB reads what the guard didn't see.
            check_plan(session, statement.sql, None, asks_catalog=statement.asks_catalog)
        except duckdb.Error:
            return
        passed.append(sql)

    tried()
    assert len(passed) > 20


@pytest.mark.parametrize("name", ["duc\u212adb_databases", "duckdb_\u017fettings"])
def test_only_ascii_has_no_case(asker: Asker, name: str) -> None:
    with pytest.raises(QueryError, match="There is no table"):
        asker.check(f'WITH "{name}" AS (SELECT 1) FROM {name.lower().replace(chr(0x17F), "s")}')
    assert asker.rows(f'WITH "{name}" AS (SELECT 1) FROM "{name}"') == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE duckdb_databases AS (FROM duckdb_databases UNION ALL FROM duckdb_databases WHERE false) "
        "FROM duckdb_databases",
        'WITH "duc\u212adb_databases" AS (SELECT 1) FROM duckdb_databases',
        "FROM __ducklake_metadata___release.ducklake_data_file",
        "FROM duckdb_settings()",
        "SELECT * FROM read_parquet('{folder}/published/prod/data/marts/days/*.parquet')",
        "FROM '{folder}/published/prod/catalog.ducklake'",
        "SELECT current_setting('extension_directory') FROM duckdb_settings()",
    ],
)
def test_the_plan_alone_refuses_what_is_no_served_table(asker: Asker, sql: str) -> None:
    sql = sql.format(folder=asker.folder)
    statement = Statement(sql, "", True, frozenset(), False)
    with pytest.raises((QueryError, duckdb.Error)) as caught:
        check_plan(asker.release.session(statement), sql, None, asks_catalog=False)
    assert not isinstance(caught.value, QueryError) or caught.value.kind == "refused"


# ------------------------------------------------------------------------------------------ columns

VIRTUAL = ["filename", "file_row_number", "file_index", "snapshot_id", "rowid"]


@pytest.mark.parametrize("column", VIRTUAL)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT {c} FROM marts.days", 'SELECT "{c}" FROM marts.days d', "SELECT d.{c} FROM marts.days d",
        "SELECT marts.days.{c} FROM marts.days", "SELECT lakehouse.marts.days.{c} FROM marts.days",
        "SELECT i FROM marts.days WHERE {c} IS NOT NULL", "SELECT i FROM marts.days ORDER BY {c}",
        "SELECT max({c}) FROM marts.days", "FROM marts.days JOIN marts.days b USING ({c})",
        "SELECT (SELECT d.{c}) FROM marts.days d", "SELECT * REPLACE ({c} AS i) FROM marts.days",
        "SELECT struct_extract(d, '{c}') FROM marts.days d", "SELECT COLUMNS('^{c}$') FROM marts.days",
        "PIVOT marts.days ON {c} IN ('x') USING count(*)", "UNPIVOT marts.days ON {c}",
        "FROM marts.days SELECT {C}",
    ],
)  # fmt: skip
def test_no_column_is_made_up(asker: Asker, sql: str, column: str) -> None:
    with pytest.raises(duckdb.Error):
        asker.rows(sql.format(c=column, C=column.upper()))


def test_a_table_has_its_columns_and_no_others(asker: Asker) -> None:
    rows = asker.rows("SELECT *, COLUMNS(*), d, #1 FROM marts.days d LIMIT 3")
    assert asker.folder not in str(rows)
    assert asker.rows("SELECT " + ", ".join(sorted(VIRTUAL)) + " FROM marts.own") == [(4, 7, "mine", 5, 3)]
    assert asker.rows("DESCRIBE marts.days")[0][0] == "day"


# ------------------------------------------------------------------------------------------ what is let through


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT uuid(); -- c", "SELECT 1; ;", "; SELECT 1", "SELECT 1 -- c", "SELECT ';' AS \";\" /* ; */ ; /* ; */",
        "SELECT row(1, 'x')", "SELECT " + " + ".join(["i"] * 201) + " FROM marts.days LIMIT 1",
        "SELECT " + " || ".join(["'x'"] * 201) + " FROM marts.days LIMIT 1",
        "SELECT version(), current_schema(), current_database(), current_catalog, current_user",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM T WHERE i < 3) FROM t",
        "WITH RECURSIVE t(i, j) USING KEY (i) AS (SELECT 1, 2 UNION SELECT t.i + 1, r.j FROM t, recurring.t r "
        "WHERE t.i < 3) FROM t",
        "PIVOT marts.days ON i IN (1, 2) USING count(*)",
        "SUMMARIZE marts.days", "DESCRIBE marts.days", "FROM marts.days TABLESAMPLE 3 ROWS",
        "FROM marts.days d, json_each(to_json(d)) LIMIT 1", "FROM marts.days, unnest([i]), range(2) LIMIT 1",
        "SELECT count(*) FROM MARTS.Days",
    ],
)  # fmt: skip
def test_what_reads_only_served_tables_is_answered(asker: Asker, sql: str) -> None:
    assert asker.rows(sql)


def chain(query: str, clauses: int, how: str = "AS") -> str:
    """A statement whose WITH clauses read each the one before."""
    bodies = ["SELECT 1 AS x", *(query.format(*[number] * query.count("{}")) for number in range(clauses - 1))]
    return (
        "WITH "
        + ", ".join(f"c{number} {how} ({body})" for number, body in enumerate(bodies))
        + (f" SELECT * FROM c{clauses - 1}")
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "+".join("1" * 246),
        "SELECT " + ", ".join("+".join(["i"] * 100) for _ in range(25)) + " FROM marts.days LIMIT 1",
        "SELECT " + "(SELECT " * 10 + "1" + ")" * 10,
        chain("SELECT x FROM c{} WHERE x >= (SELECT avg(x) FROM c{})", 30),
        chain("SELECT a.x FROM c{} a JOIN c{} b USING (x)", 25, "AS NOT MATERIALIZED"),
        "SELECT i IS NOT NULL AS not_materialized FROM marts.days LIMIT 1",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < (SELECT 3)) "
        "SELECT max(t.i) FROM t, t u",
        "SELECT " + ", ".join("(SELECT max(i) FROM marts.days)" for _ in range(50)),
    ],
    ids=range(8),
)
def test_what_is_long_or_deep_as_statements_are_is_answered(asker: Asker, sql: str) -> None:
    assert asker.rows(sql)


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("PIVOT marts.days ON i USING count(*)", "values that are named"),
        ("; ;", "There is no statement"),
        ("SELECT 1; SELECT 2", "One statement"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE"),
        ("SELECT * FROM marts.days, duckdb_tables()", "in two statements"),
        ("SELECT " + "x" * 300 + "(1)", "not allowed here"),
        ("SELECT " + "(" * 240 + "SELECT " * 0 + "abs(" * 260 + "1" + ")" * 500, "nested deeper than 250"),
        ("SELECT " + ", ".join("+".join("1" * 240) for _ in range(3)), r"list_sum\(\[a, b, …\]\)"),
        (" UNION ALL ".join(["SELECT 1"] * 1_001), "may hold 1,000 SELECTs"),
        ("SELECT " + "(SELECT " * 11 + "1" + ")" * 11, "more than 10 deep"),
        (chain("SELECT (SELECT max(x) FROM c{}) AS x", 12), "more than 10 deep"),
        (chain("SELECT (SELECT max(x) FROM c{}) AS x", 12, "AS /* hint */ NOT MATERIALIZED"), "more than 10 deep"),
        (f"SELECT ({chain('SELECT (SELECT max(x) FROM c{}) AS x', 11)})", "more than 10 deep"),
    ],
)
def test_what_is_not_says_why_in_short(asker: Asker, sql: str, wanted: str) -> None:
    with pytest.raises(QueryError, match=wanted) as caught:
        asker.rows(sql)
    assert len(str(caught.value)) < 1_100


def test_a_plan_is_told_and_nothing_runs(asker: Asker) -> None:
    statement = asker.check("\n/* why */ EXPLAIN (FORMAT JSON)\n SELECT i FROM marts.days WHERE nosuch = 1;")
    assert statement.explain == "EXPLAIN (FORMAT json)"
    assert statement.sql.split("\n")[2] == " SELECT i FROM marts.days WHERE nosuch = 1"
    assert asker.check("EXPLAIN FROM marts.days").explain == "EXPLAIN"


# ------------------------------------------------------------------------------------------ the catalog


def test_the_catalog_lists_the_served_tables_and_nothing_else(asker: Asker) -> None:
    assert asker.rows("SHOW TABLES") == [("marts.days",), ("marts.own",)]
    assert asker.rows("SHOW TABLES FROM marts") == [("days",), ("own",)]
    assert [row[:3] for row in asker.rows("SHOW ALL TABLES")] == [
        ("lakehouse", "marts", "days"), ("lakehouse", "marts", "own"),
    ]  # fmt: skip
    wanted = [("marts", "days", "Numbers by day."), ("marts", "own", None)]
    assert asker.rows("SELECT table_schema, table_name, table_comment FROM information_schema.tables ORDER BY ALL") == (
        wanted
    )
    assert asker.rows("SELECT schema_name, table_name, comment FROM duckdb_tables() ORDER BY ALL") == wanted
    assert asker.rows(
        "SELECT column_name, data_type, column_comment FROM information_schema.columns WHERE table_name = 'days'"
    ) == [("day", "DATE", None), ("i", "BIGINT", "A number.")]
    assert asker.rows(
        "SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relname = 'days' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY a.attnum LIMIT 2"
    )[0][:3] == ("marts", "days", "day")


@pytest.mark.parametrize("schema", ["information_schema", "pg_catalog", "main", ""])
def test_no_relation_of_the_catalog_tells_where_things_lie(asker: Asker, schema: str) -> None:
    from lakehouse.query.engine.catalog import CATALOG_RELATIONS, CATALOG_TABLE_FUNCTIONS

    names = [f"{schema}.{name}" if schema else name for name in CATALOG_RELATIONS[schema]]
    for name in [*names, *(f"{name}()" for name in CATALOG_TABLE_FUNCTIONS if not schema)]:
        told = str(asker.rows(f"FROM {name}"))
        assert asker.folder not in told and "__release" not in told, name


def test_object_ids_are_the_same_in_every_worker(tmp_path: Path, asker: Asker) -> None:
    releases, call = open_release(tmp_path)
    other = Asker(asker.parser, releases.open(call)[0], str(tmp_path))
    sql = "SELECT oid, relname FROM pg_class WHERE relkind = 'r' ORDER BY ALL"
    assert other.rows(sql) == asker.rows(sql)
    releases.close(call)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT error('it ran') AS e, 1 AS a, 2 AS a FROM range($n)", ["e", "a", "a"]),
        ("SELECT $n + 1 AS next, row(1, 'b') AS pair -- end", ["next", "pair"]),
    ],
)
def test_a_statement_with_parameters_is_described_without_running(sql: str, columns: list[str]) -> None:
    with closing(duckdb.connect()) as connection:
        found = described(connection, sql, {"n": 3})
        assert [name for name, _ in found] == columns
        assert [str(kind) for _, kind in found][-1] in ("INTEGER", "STRUCT(INTEGER, VARCHAR)")
