"""Readers write the same names in every environment, and can't name another's tables."""

from __future__ import annotations

import pytest

from lakehouse.lake.head import HeadError, rewritten


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM marts.x", "SELECT * FROM marts__dev_ann.x"),
        ("select * from lakehouse.marts.x", "select * from lakehouse.marts__dev_ann.x"),
        ('FROM "Marts"."x"', 'FROM marts__dev_ann."x"'),
        ("FROM LAKEHOUSE.MARTS.X", "FROM LAKEHOUSE.marts__dev_ann.X"),
        ("SELECT * FROM raw.x JOIN staging.y USING (a)", "SELECT * FROM raw.x JOIN staging__dev_ann.y USING (a)"),
        ("SELECT * FROM marts__dev_ann.x", "SELECT * FROM marts__dev_ann.x"),
        ("SELECT 'marts.x' -- marts.x\nFROM marts.x", "SELECT 'marts.x' -- marts.x\nFROM marts__dev_ann.x"),
        ("SELECT 'é日' FROM marts.x", "SELECT 'é日' FROM marts__dev_ann.x"),
        ("WITH marts AS (FROM marts.x) FROM marts", "WITH marts AS (FROM marts__dev_ann.x) FROM marts"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (SELECT 1) SELECT * FROM x"),
        (
            "SELECT (SELECT max(marts.x.a) FROM marts.x) FROM (FROM staging.y) UNION ALL FROM marts.z",
            "SELECT (SELECT max(marts__dev_ann.x.a) FROM marts__dev_ann.x) FROM (FROM staging__dev_ann.y) "
            "UNION ALL FROM marts__dev_ann.z",
        ),
        ("SELECT marts.x.a, x.b FROM marts.x", "SELECT marts__dev_ann.x.a, x.b FROM marts__dev_ann.x"),
        ("SELECT marts.x.a FROM s AS marts, marts.y", "SELECT marts.x.a FROM s AS marts, marts__dev_ann.y"),
        ("SELECT * FROM marts.x AT (VERSION => 3)", "SELECT * FROM marts__dev_ann.x AT (VERSION => 3)"),
        ("EXPLAIN SELECT * FROM marts.x", "EXPLAIN SELECT * FROM marts__dev_ann.x"),
        ("SUMMARIZE marts.x", "SUMMARIZE marts__dev_ann.x"),
        ("DESCRIBE marts.x", "DESCRIBE marts__dev_ann.x"),
        ("FROM t WHERE a IN (SELECT a FROM marts.x)", "FROM t WHERE a IN (SELECT a FROM marts__dev_ann.x)"),
        ("SELECT table_name FROM information_schema.tables", "SELECT table_name FROM information_schema.tables"),
    ],
)  # fmt: skip
def test_each_table_is_the_environments_own(sql: str, expected: str) -> None:
    assert rewritten(sql, "dev_ann") == expected


@pytest.mark.parametrize("environment", ["dev_ann", "prod"])
@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT * FROM marts__dev_bob.x", "marts__dev_bob.x belongs to the environment dev_bob"),
        ("SELECT * FROM lakehouse.marts__dev_bob.x", "lakehouse.marts__dev_bob.x belongs"),
        ('SELECT * FROM "MARTS__DEV_BOB".x', "MARTS__DEV_BOB.x belongs"),
        ("WITH a AS (SELECT (SELECT 1 FROM staging__qa.y)) FROM a", "staging__qa.y belongs to the environment qa"),
        ("DESCRIBE marts__qa.x", "marts__qa.x belongs"),
        ("FROM sqlmesh__marts.marts__x__123", "sqlmesh__marts.marts__x__123 is a physical table"),
        ("FROM __ducklake_metadata_lakehouse.lakehouse.ducklake_table", "is no table of an environment"),
        ("FROM __ducklake_metadata_lakehouse.ducklake_table", "is no table of an environment"),
        ("FROM query('FROM marts__qa.x')", r"query\(\) reaches tables"),
        ("FROM query_table('marts__qa.x')", r"query_table\(\) reaches"),
        ("SELECT * FROM ducklake_table_changes('lakehouse', 'marts', 'x', 1, 2)", r"ducklake_table_changes\(\)"),
        ("FROM lakehouse.table_changes('x', 1, 2)", r"table_changes\(\)"),
        ("FROM postgres_query('a', 'SELECT 1')", r"postgres_query\(\)"),
        ("DELETE FROM marts.x", "One SELECT is wanted"),
        ("SELECT 1; SELECT 2", "One SELECT is wanted"),
        ("ATTACH 'a' AS b", "One SELECT is wanted"),
        ("SELEC * FROM", "can't be read as a SELECT|One SELECT is wanted"),
    ],
)
def test_another_environments_table_is_refused_by_name(sql: str, named: str, environment: str) -> None:
    with pytest.raises(HeadError, match=named):
        rewritten(sql, environment)


def test_prods_own_names_stay() -> None:
    assert rewritten("SELECT marts.x.a FROM marts.x", "prod") == "SELECT marts.x.a FROM marts.x"
    with pytest.raises(HeadError, match="marts__prod.x belongs to the environment prod"):
        rewritten("SELECT * FROM marts__prod.x", "dev_ann")
