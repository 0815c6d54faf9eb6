"""What a token sees of a release that not all of it is shared with: some tables, of these some columns and some rows.

Everything that tells of tables is made of the manifest, and everything that reads rows of views: both hold nothing else
for such a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import duckdb

from lakehouse.lake.ducklake import identifier
from lakehouse.query.engine.catalog import TableWithoutRows, catalog_of
from lakehouse.query.engine.guard import check
from lakehouse.query.engine.parsing import Parser, first_line
from lakehouse.query.engine.problems import QueryError
from lakehouse.releases.manifest import Lineage, Manifest, PublishedTable

NO_LIMIT = 2**63 - 1
View = tuple[list[str], str]
"""Of a table: the columns that are seen, and the filter of its rows; empty for all of them."""


@dataclass(frozen=True)
class Sight:
    """What is seen of one table."""

    where: str = ""
    """SQL that is true for the rows that are seen; empty: all."""
    hidden: tuple[str, ...] = ()
    """Columns that are not there."""

    def sees(self, column: str) -> bool:
        """Whether the column is there. A name has no case."""
        return column.lower() not in {name.lower() for name in self.hidden}


Sights = Mapping[str, Sight]
"""By `schema.table`; what is not named is not there."""


def scope_of(sights: Sights | None) -> str:
    """The same for who sees the same; empty for who sees all."""
    if sights is None:
        return ""
    return json.dumps({name: asdict(sight) for name, sight in sights.items()}, sort_keys=True)


def narrowed(manifest: Manifest, sights: Sights) -> Manifest:
    """The release as far as it is seen. Of who made it, of what was left out and why, nothing is told, and its pages
    are for those who see all: their SQL names what is not shared."""
    tables = [_seen(table, sights[table.name]) for table in manifest.tables if table.name in sights]
    return replace(
        manifest, tables=tuple(tables), author="", run="", held=(), pages={},
        lineage=_lineage(manifest.lineage, tables),
        changed=tuple(word for word in manifest.changed if word.split(" ", 1)[0] in sights),
    )  # fmt: skip


def _seen(table: PublishedTable, sight: Sight) -> PublishedTable:
    columns = tuple(column for column in table.columns if sight.sees(column[0]))
    names = {name for name, *_ in columns}
    return replace(
        table,
        columns=columns,
        files=() if sight.where else table.files,  # how many rows there are is not for those who see some
        content="" if sight.where else table.content,
        partitioned_by=tuple(name for name in table.partitioned_by if name in names),
        grain=table.grain if set(table.grain) <= names else (),
        checks=() if sight.hidden or sight.where else table.checks,
    )


def _lineage(lineage: Lineage, tables: list[PublishedTable]) -> Lineage:
    """Where both ends are seen."""
    seen = {(table.name, name) for table in tables for name, *_ in table.columns}
    found: dict[str, dict[str, list[list[str]]]] = {}
    for table, columns in lineage.items():
        for column, sources in columns.items():
            known = [[above, of] for above, of in sources if (above, of) in seen and (table, column) in seen]
            if known:
                found.setdefault(table, {})[column] = known
    return found


def views_of(manifest: Manifest, sights: Sights) -> dict[str, View]:
    """What a worker makes of it."""
    return {
        table.name: ([name for name, *_ in table.columns if sights[table.name].sees(name)], sights[table.name].where)
        for table in manifest.tables
        if table.name in sights
    }


def view_sql(source: str, view: View) -> str:
    """The SELECT of a view over the table `source`.

    A condition of whoever asks must never be tried on rows that are not shown: an error, or none, would tell of them.
    DuckDB moves conditions down into views, but not past a LIMIT. TRY: a filter that fails on a row hides it, and says
    nothing.
    """
    columns, where = view
    rows = f" WHERE try((\n{where}\n)) LIMIT {NO_LIMIT}" if where else ""
    return f"SELECT {', '.join(map(identifier, columns))} FROM {source}{rows}"


def check_sights(manifest: Manifest, sights: Sights) -> None:
    """Whether a release can be seen so.

    Raises:
        QueryError: there is no such table or column, a filter is no expression over a table's columns, or nothing
            would be left.
    """
    for name, sight in sights.items():
        table = manifest.find(name)
        if table is None:
            known = ", ".join(sorted(one.name for one in manifest.tables)) or "none"
            raise QueryError("unknown-table", f"There is no table {name}. There are {known}.")
        columns = {column.lower() for column, *_ in table.columns}
        if missing := [column for column in sight.hidden if column.lower() not in columns]:
            raise QueryError("failed", f"{name} has no column {', '.join(missing)} that could be hidden.")
        view = views_of(manifest, {name: sight})[name]
        if not view[0]:
            raise QueryError("failed", f"No column of {name} would be left.")
        if sight.where:
            _check_filter(table, view)


def _check_filter(table: PublishedTable, view: View) -> None:
    schema, name = table.name.split(".", 1)
    try:
        node = Parser().parse(f"SELECT {view[1]}").node
        rest = [node.get(part) for part in ("where_clause", "modifiers", "having", "qualify", "group_expressions")]
        if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1 or any(rest):
            raise QueryError("refused", "One expression is wanted, as country = 'SO'.")
        if not check(Parser(), f"SELECT (\n{view[1]}\n)", ()).repeatable:
            raise QueryError("refused", "It must say the same whenever it is asked: answers are kept.")
        with catalog_of([TableWithoutRows(schema, name, table.columns)]) as connection:
            connection.execute(f"EXPLAIN {view_sql(f'{identifier(schema)}.{identifier(name)}', view)}")
    except duckdb.Error as error:
        raise QueryError("failed", f"The filter of {table.name} can't be used: {first_line(error)}") from None
    except QueryError as error:
        raise QueryError(error.kind, f"The filter of {table.name} can't be used: {error.detail}") from None
