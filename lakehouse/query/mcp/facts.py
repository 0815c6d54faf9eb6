"""What agents are told of a release, out of its manifest: its tables, where columns come from, what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.releases import Source
from lakehouse.releases.manifest import Lineage, Manifest, PublishedTable

MOST_FOUND = 50
MOST_EDGES = 500


def find_tables(source: Source, words: str) -> dict[str, Any]:
    """The tables whose name, description, owner or columns have most of the words; all of them for no words."""
    wanted = words.lower().split()
    found = []
    for entry in source.listing()["tables"]:
        columns = [f"{column['name']} {column['description']}" for column in entry["columns"]]
        head = f"{entry['name']} {entry['description']} {entry['owner']}".lower()
        texts = [head, *(text.lower() for text in columns)]
        score = sum(2 * (word in head) + any(word in text for text in texts) for word in wanted)
        if score or not wanted:
            told = ("name", "description", "owner", "grain", "rows", "as_of")
            found.append((-score, entry["name"], {name: entry[name] for name in told}))
    tables = [told for _, _, told in sorted(found, key=lambda one: one[:2])]
    return {**source.about(), "found": len(tables), "tables": tables[:MOST_FOUND]}


def describe(source: Source, table: str) -> dict[str, Any]:
    """All that is known of a table.

    Raises:
        QueryError: the release has none of this name.
    """
    _table(source.manifest, table)
    listing = source.listing()
    entry = next(one for one in listing["tables"] if one["name"] == table)
    sources = source.manifest.lineage.get(table, {})
    for column in entry["columns"]:
        column["from"] = [".".join(one) for one in sources.get(column["name"], ())]
    about = {name: listing[name] for name in ("environment", "release", "cut_at", "age_seconds", "code_version")}
    held = [one for one in source.manifest.held if table in one["tables"]]
    return {**entry, "held_back": held, "of_release": about}


def lineage(source: Source, table: str, column: str) -> dict[str, Any]:
    """What a table's columns, or one of them, are computed from, down to raw tables, and what is computed from them.

    Raises:
        QueryError: the release knows no such table or column.
    """
    known = source.manifest.lineage
    served = source.manifest.find(table)
    columns = {name for name, *_ in served.columns} if served else set(known.get(table, {}))
    columns |= {of for _, _, above, of in _edges(known) if above == table}
    if not columns:
        raise QueryError("unknown-table", f"Nothing is known of {table[:100]}: search_tables finds tables.")
    if column and column not in columns:
        raise QueryError("failed", f"{table} has no column {column[:100]}. It has {', '.join(sorted(columns))}.")
    start = {(table, column)} if column else {(table, name) for name in columns}
    edges = list(_edges(known))
    up = _reached(start, [((t, c), (st, sc)) for t, c, st, sc in edges])
    down = _reached(start, [((st, sc), (t, c)) for t, c, st, sc in edges])
    told = {"computed_from": up, "used_by": down}
    return {"table": table, "column": column or None, **told, "cut": max(len(up), len(down)) >= MOST_EDGES}


def _edges(known: Lineage) -> Iterator[tuple[str, str, str, str]]:
    for table, columns in known.items():
        for column, sources in columns.items():
            for above, of in sources:
                yield table, column, above, of


def _reached(start: set[tuple[str, str]], steps: list[tuple[tuple[str, str], tuple[str, str]]]) -> list[dict[str, str]]:
    """The edges that lie on the way from these columns."""
    below: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one, other in steps:
        below.setdefault(one, []).append(other)
    seen, left = set(start), sorted(start)
    found: list[dict[str, str]] = []
    while left and len(found) < MOST_EDGES:
        one = left.pop(0)
        for other in sorted(below.get(one, ())):
            found.append({"column": ".".join(one), "other": ".".join(other)})
            if other not in seen:
                seen.add(other)
                left.append(other)
    return found


def changes(older: Manifest, newer: Manifest) -> dict[str, Any]:
    """What differs between two releases, table by table: new, gone, its rows, its columns, its checks."""
    before = {table.name: table for table in older.tables}
    after = {table.name: table for table in newer.tables}
    tables: dict[str, Any] = {}
    for name in sorted(before.keys() & after.keys()):
        if told := _differences(before[name], after[name]):
            tables[name] = told
    return {
        "environment": newer.environment,
        "from": {"release": older.number, "cut_at": older.cut_at, "code_version": older.code_version},
        "to": {"release": newer.number, "cut_at": newer.cut_at, "code_version": newer.code_version},
        "new_tables": sorted(after.keys() - before.keys()),
        "tables_no_longer_served": sorted(before.keys() - after.keys()),
        "changed_tables": tables,
    }


def _differences(before: PublishedTable, after: PublishedTable) -> dict[str, Any]:
    old, new = ({name: kind for name, kind, _ in table.columns} for table in (before, after))
    told: dict[str, Any] = {}
    if before.content != after.content:
        told["rows"] = {"before": before.rows, "after": after.rows}
    if added := sorted(new.keys() - old.keys()):
        told["new_columns"] = added
    if gone := sorted(old.keys() - new.keys()):
        told["columns_gone"] = gone
    if retyped := {name: [old[name], new[name]] for name in old.keys() & new.keys() if old[name] != new[name]}:
        told["types"] = retyped
    if before.description != after.description or (before.columns != after.columns and not (added or gone or retyped)):
        told["described_anew"] = True
    results: list[Mapping[str, Any]] = [{c["name"]: c["result"] for c in table.checks} for table in (before, after)]
    if results[0] != results[1]:
        told["checks"] = {"before": results[0], "after": results[1]}
    return told


def _table(manifest: Manifest, name: str) -> PublishedTable:
    found = manifest.find(name)
    if found is None:
        near = [one.name for one in manifest.tables if one.name.split(".")[-1] == name.split(".")[-1]]
        names = near or sorted(one.name for one in manifest.tables)[:5]
        raise QueryError("unknown-table", f"There is no table {name[:100]}. There are {', '.join(names) or 'none'}.")
    return found
