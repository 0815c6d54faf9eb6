"""Which statements are let through: one SELECT whose parse tree holds nothing but what `allowed` lists.

The tree is DuckDB's own (`json_serialize_sql`), so what is looked at is what will run.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable
from typing import Any

import duckdb

from lakehouse.query.allowed import EXPRESSIONS, FUNCTIONS, NODES, TABLE_FUNCTIONS, VOLATILE
from lakehouse.query.problems import QueryError, place

CATALOG = "lakehouse"
MAX_BYTES = 100_000
MAX_DEPTH = 200
NOWHERE = 2**63
OPERATOR = re.compile(r"[^a-z0-9_\s\"]{1,4}", re.IGNORECASE)
SHOWN = frozenset({"DESCRIBE", "SUMMARY"})


def check(connection: duckdb.DuckDBPyConnection, sql: str, served: Collection[str]) -> bool:
    """Let a statement over the tables `served` (`schema.table`) through, and say whether its answer is repeatable.

    `connection` only parses.

    Raises:
        QueryError: the statement can't be parsed or is refused; it says why and where.
    """
    if len(sql.encode()) > MAX_BYTES:
        raise QueryError("too-large", f"A statement may have {MAX_BYTES:,} bytes.")
    if "\0" in sql:
        raise QueryError("syntax", "The statement holds a NUL character.", *place(sql, sql.index("\0")))
    return _Walk(sql, served).statement(_parse(connection, sql))


def _parse(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    try:
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    except duckdb.Error as error:
        raise QueryError("syntax", f"The statement can't be parsed: {first_line(error)}") from None
    assert row is not None
    try:
        tree: dict[str, Any] = json.loads(row[0])
    except RecursionError:
        raise _too_deep() from None
    if tree.get("error"):
        message = str(tree.get("error_message", ""))
        if tree.get("error_type") == "not implemented":
            raise QueryError("refused", "Only a SELECT is answered here.")
        position = tree.get("position")
        where = place(sql, int(position)) if position else (None, None)
        raise QueryError("syntax", f"{message[:1].upper()}{message[1:]}.", *where)
    if len(tree["statements"]) != 1:
        count = len(tree["statements"])
        raise QueryError("refused", f"One statement is answered at a time; there are {count}.")
    node: dict[str, Any] = tree["statements"][0]["node"]
    return node


def _too_deep() -> QueryError:
    return QueryError("refused", f"The statement is nested deeper than {MAX_DEPTH} levels.")


class _Walk:
    """A walk over one tree. Scopes are the names of the WITH clauses that a place in it sees."""

    def __init__(self, sql: str, served: Collection[str]):
        self.sql = sql
        self.served = {name.lower() for name in served}
        self.repeatable = True

    def statement(self, node: dict[str, Any]) -> bool:
        self._node(node, frozenset(), 0)
        return self.repeatable

    def _node(self, item: Any, scope: frozenset[str], depth: int) -> None:
        if depth > 2 * MAX_DEPTH:
            raise _too_deep()
        if isinstance(item, list):
            for one in item:
                self._node(one, scope, depth + 1)
            return
        if not isinstance(item, dict):
            return
        scope = self._with(item, scope, depth)
        kind = item.get("class")
        if kind is not None:
            self._expression(kind, item)
            if kind == "CONSTANT":
                return
        elif isinstance(item.get("type"), str):
            self._tree_node(item, scope)
        if item.get("type") == "RECURSIVE_CTE_NODE":
            scope |= {str(item["cte_name"]).lower()}
        for name, value in item.items():
            if name == "function" and item.get("type") == "TABLE_FUNCTION":
                # Its own name was looked at among the table functions.
                self._node(list(value.values()), scope, depth + 1)
            elif name == "cast_type":
                self._type(value, item)
            elif name not in ("cte_map", "sample"):
                self._node(value, scope, depth + 1)

    def _with(self, item: dict[str, Any], scope: frozenset[str], depth: int) -> frozenset[str]:
        """The scope behind the WITH clause: each query in it sees those before it, and itself when it is recursive."""
        for entry in (item.get("cte_map") or {}).get("map", ()):
            self._node(entry["value"], scope, depth + 1)
            scope |= {str(entry["key"]).lower()}
        return scope

    def _type(self, value: Any, item: dict[str, Any]) -> None:
        """A type is a name and its numbers: nothing in it is evaluated."""
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            if isinstance(one, dict) and one.get("class", "TYPE") not in ("TYPE", "CONSTANT"):
                raise self._refused("An expression is not allowed in a type.", item)
            self._type(one, item)

    def _expression(self, kind: str, item: dict[str, Any]) -> None:
        if kind not in EXPRESSIONS:
            raise self._refused(f"{kind.replace('_', ' ').lower()} expressions are not allowed here.", item)
        if kind in ("FUNCTION", "WINDOW"):
            self._function(item, FUNCTIONS)
        elif kind == "COLUMN_REF" and str(item["column_names"][-1]).lower() in VOLATILE:
            self.repeatable = False

    def _tree_node(self, item: dict[str, Any], scope: frozenset[str]) -> None:
        kind = str(item["type"])
        if kind not in NODES:
            raise self._refused(f"{kind.replace('_', ' ').lower()} is not allowed here.", item)
        if item.get("sample"):
            self.repeatable = False
        if kind == "TABLE_FUNCTION":
            self._function(item["function"], TABLE_FUNCTIONS)
        elif kind == "BASE_TABLE":
            self._table(item, scope)
        elif kind == "SHOW_REF" and not (item.get("query") and item.get("show_type") in SHOWN):
            raise self._refused("SHOW is not answered here: ask for the list of tables.", item)

    def _function(self, item: dict[str, Any], allowed: Collection[str]) -> None:
        name = str(item.get("function_name", "")).lower()
        own = str(item.get("schema") or "main").lower() in ("main", "pg_catalog") and not item.get("catalog")
        if not own or (name not in allowed and not OPERATOR.fullmatch(name)):
            near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.8)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise self._refused(f"The function {name} is not allowed here.{hint}", item)
        if name in VOLATILE:
            self.repeatable = False

    def _table(self, item: dict[str, Any], scope: frozenset[str]) -> None:
        catalog, schema, table = (str(item.get(part) or "") for part in ("catalog_name", "schema_name", "table_name"))
        if item.get("at_clause"):
            raise self._refused("AT is not allowed here: ask for a release by its number.", item)
        if not catalog and not schema and table.lower() in scope:
            return
        if catalog.lower() in ("", CATALOG) and f"{schema}.{table}".lower() in self.served:
            return
        asked = ".".join(part for part in (catalog, schema, table) if part)
        raise QueryError("unknown-table", f"There is no table {asked}.{self._near(asked)}", *self._place(item))

    def _near(self, asked: str) -> str:
        by_table = [name for name in self.served if name.split(".")[-1] == asked.lower().split(".")[-1]]
        near = by_table or difflib.get_close_matches(asked.lower(), self.served, n=1)
        return f" Did you mean {near[0]}?" if near else _listing(self.served)

    def _refused(self, reason: str, item: dict[str, Any]) -> QueryError:
        return QueryError("refused", reason, *self._place(item))

    def _place(self, item: dict[str, Any]) -> tuple[int | None, int | None]:
        offset = item.get("query_location", NOWHERE)
        return place(self.sql, offset) if offset < NOWHERE else (None, None)


def _listing(names: Iterable[str]) -> str:
    found = sorted(names)
    if not found:
        return " The release holds none."
    more = ", …" if len(found) > 5 else ""
    return f" There are {', '.join(found[:5])}{more}"


def first_line(error: Exception) -> str:
    """DuckDB's message without its kind and its picture of the statement; of its advice the columns that are near."""
    first, *rest = re.sub(r"^[A-Za-z ]+ Error: ", "", str(error)).split("\n")
    near = next((line for line in rest if line.startswith("Candidate bindings: ")), "")
    return f"{first.strip()} {near}".strip()
