"""How two tables differ: their columns, and their rows by a key, or as sets of rows without one.

SQLMesh's own table_diff writes its join into the lake, as a snapshot of it, and calls reals equal that differ in the
fourth decimal: this reads only, and compares exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from lakehouse.lake.ducklake import identifier

IGNORED = ("computed_at",)
"""Columns that say when a row was computed: they differ whenever it was computed twice."""
HIDDEN = "(hidden)"
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "DECIMAL", "FLOAT", "DOUBLE")
REALS = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class ChangedRow:
    """A row that both tables have under one key, with the columns whose values differ: (left, right)."""

    key: Mapping[str, Any]
    columns: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class TableDifference:
    """How the right table differs from the left one. Counts are of rows."""

    columns_added: Mapping[str, str]
    columns_removed: Mapping[str, str]
    columns_retyped: Mapping[str, tuple[str, str]]
    rows_left: int
    rows_right: int
    matched: int
    only_left: int
    only_right: int
    changed: int | None = None
    """Same key, other values; None where no key tells which row is which."""
    key: tuple[str, ...] = ()
    column_match_percent: Mapping[str, float] = field(default_factory=dict)
    """By column, of the rows that both have; only with a key."""
    ignored: tuple[str, ...] = ()
    note: str = ""
    changed_sample: tuple[ChangedRow, ...] = ()
    only_left_sample: tuple[Mapping[str, Any], ...] = ()
    only_right_sample: tuple[Mapping[str, Any], ...] = ()

    @property
    def same(self) -> bool:
        """Whether columns and rows are the same, but for what is ignored."""
        schema = self.columns_added or self.columns_removed or self.columns_retyped
        return not (schema or self.changed or self.only_left or self.only_right)


def compare(
    connection: duckdb.DuckDBPyConnection,
    left: str,
    right: str,
    key: Sequence[str] = (),
    *,
    sample: int = 0,
    ignored: Sequence[str] = IGNORED,
    hidden: Collection[str] = (),
) -> TableDifference:
    """Compare two tables, given as SQL names, by the columns of `key`; with up to `sample` rows of each difference.

    No sample shows a value of a column in `hidden` (small letters), which is compared as any other.
    """
    before, after = _columns(connection, left), _columns(connection, right)
    shared = [name for name in before if name in after]
    key = tuple(key) if set(key) <= set(shared) - set(ignored) else ()
    schema: dict[str, Any] = {
        "columns_added": {name: after[name] for name in after if name not in before},
        "columns_removed": {name: before[name] for name in before if name not in after},
        "columns_retyped": {name: (before[name], after[name]) for name in shared if before[name] != after[name]},
        "ignored": tuple(name for name in shared if name in ignored),
    }
    compared = [_Column(name, before[name], after[name]) for name in shared if name not in ignored]
    note = "" if key else "no key tells its rows apart: they are compared as whole rows"
    if key and (doubles := _doubles(connection, left, key) or _doubles(connection, right, key)):
        key, note = (), f"its key {', '.join(key)} names {doubles:,} rows twice: they are compared as whole rows"
    if key:
        rows = _by_key(connection, left, right, key, compared, sample)
    else:
        rows = _as_sets(connection, left, right, compared, sample)
    return TableDifference(**schema, **rows | _without(rows, hidden), key=key, note=note)


def _without(rows: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """The samples again, HIDDEN in the place of what is."""

    def shown(record: Mapping[str, Any], instead: Any) -> dict[str, Any]:
        return {name: instead if name.lower() in hidden else value for name, value in record.items()}

    found: dict[str, Any] = {
        name: tuple(shown(record, HIDDEN) for record in rows.get(name, ()))
        for name in ("only_left_sample", "only_right_sample")
    }
    changed = rows.get("changed_sample", ())
    found["changed_sample"] = tuple(
        ChangedRow(shown(row.key, HIDDEN), shown(row.columns, (HIDDEN, HIDDEN))) for row in changed
    )
    return found


@dataclass(frozen=True)
class _Column:
    name: str
    left_type: str
    right_type: str

    @property
    def equal(self) -> str:
        """SQL that is true when both sides have the same value, NULL included."""
        a, b = f"l.{identifier(self.name)}", f"r.{identifier(self.name)}"
        if self.left_type in REALS and self.right_type in REALS:
            # Sums of reals depend on the order of addition in their last digits.
            return f"coalesce(abs({a} - {b}) <= 1e-9 * greatest(abs({a}), abs({b})), {a} IS NOT DISTINCT FROM {b})"
        if self.comparable:
            return f"{a} IS NOT DISTINCT FROM {b}"
        return f"{a}::VARCHAR IS NOT DISTINCT FROM {b}::VARCHAR"

    @property
    def comparable(self) -> bool:
        numeric = [kind.split("(")[0] in NUMBERS for kind in (self.left_type, self.right_type)]
        return self.left_type == self.right_type or all(numeric)

    @property
    def value(self) -> str:
        """SQL of the value in either table, so that equal values are one."""
        return identifier(self.name) + ("" if self.comparable else "::VARCHAR")


def _by_key(
    connection: duckdb.DuckDBPyConnection,
    left: str,
    right: str,
    key: tuple[str, ...],
    compared: list[_Column],
    sample: int,
) -> dict[str, Any]:
    by_name = {column.name: column for column in compared}
    on = " AND ".join(by_name[name].equal for name in key)
    values = [column for column in compared if column.name not in key]
    same = " AND ".join(f"({column.equal})" for column in values) or "true"
    joined = f"""
        (SELECT *, true AS _here FROM {left}) AS l FULL JOIN (SELECT *, true AS _here FROM {right}) AS r ON {on}
    """
    both_have = "l._here AND r._here"
    per_column = "".join(f", count(*) FILTER ({both_have} AND ({column.equal}))" for column in values)
    row = connection.execute(
        f"""
        SELECT count(l._here), count(r._here), count(*) FILTER ({both_have}),
            count(*) FILTER ({both_have} AND {same}){per_column}
        FROM {joined}
        """
    ).fetchone()
    assert row is not None
    rows_left, rows_right, both, matched = (int(value) for value in row[:4])
    found: dict[str, Any] = {
        "rows_left": rows_left,
        "rows_right": rows_right,
        "matched": matched,
        "changed": both - matched,
        "only_left": rows_left - both,
        "only_right": rows_right - both,
        "column_match_percent": {
            column.name: round(100 * int(equal) / both, 4) if both else 100.0
            for column, equal in zip(values, row[4:], strict=True)
        },
    }
    if sample:
        order = ", ".join(f"{side}.{identifier(name)}" for name in key for side in "lr")
        for name, alias, other in (("only_left_sample", "l", "r"), ("only_right_sample", "r", "l")):
            alone = f"FROM {joined} WHERE {other}._here IS NULL ORDER BY {order} LIMIT {sample:d}"
            found[name] = _records(connection, f"SELECT {alias}.* EXCLUDE (_here) {alone}")
        found["changed_sample"] = _changed(connection, joined, key, values, same, order, sample)
    return found


def _changed(
    connection: duckdb.DuckDBPyConnection,
    joined: str,
    key: tuple[str, ...],
    values: list[_Column],
    same: str,
    order: str,
    sample: int,
) -> tuple[ChangedRow, ...]:
    keys = ", ".join(f"l.{identifier(name)}" for name in key)
    pairs = "".join(f", l.{identifier(c.name)}, r.{identifier(c.name)}, ({c.equal})" for c in values)
    where = f"l._here AND r._here AND NOT ({same})"
    rows = connection.execute(
        f"SELECT {keys}{pairs} FROM {joined} WHERE {where} ORDER BY {order} LIMIT {sample:d}"
    ).fetchall()
    found = []
    for row in rows:
        rest = row[len(key) :]
        triples = zip(values, rest[::3], rest[1::3], rest[2::3], strict=True)
        columns = {column.name: (before, after) for column, before, after, equal in triples if not equal}
        found.append(ChangedRow(dict(zip(key, row, strict=False)), columns))
    return tuple(found)


def _as_sets(
    connection: duckdb.DuckDBPyConnection, left: str, right: str, compared: list[_Column], sample: int
) -> dict[str, Any]:
    values = ", ".join(f"{column.value} AS {identifier(column.name)}" for column in compared) or "1"
    lefts, rights = f"SELECT {values} FROM {left}", f"SELECT {values} FROM {right}"
    counts = [
        _count(connection, f"SELECT count(*) FROM ({query})")
        for query in (lefts, rights, f"{lefts} EXCEPT ALL {rights}", f"{rights} EXCEPT ALL {lefts}")
    ]
    found: dict[str, Any] = dict(zip(("rows_left", "rows_right", "only_left", "only_right"), counts, strict=True))
    found["matched"] = found["rows_left"] - found["only_left"]
    if sample:
        for name, one, other in (("only_left_sample", lefts, rights), ("only_right_sample", rights, lefts)):
            found[name] = _records(connection, f"FROM ({one} EXCEPT ALL {other}) ORDER BY ALL LIMIT {sample:d}")
    return found


def _doubles(connection: duckdb.DuckDBPyConnection, table: str, key: tuple[str, ...]) -> int:
    distinct = f"SELECT DISTINCT {', '.join(identifier(name) for name in key)} FROM {table}"
    return _count(connection, f"SELECT (SELECT count(*) FROM {table}) - count(*) FROM ({distinct})")


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def _records(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Mapping[str, Any], ...]:
    result = connection.execute(sql)
    names = [name for name, *_ in result.description or ()]
    return tuple(dict(zip(names, row, strict=True)) for row in result.fetchall())
