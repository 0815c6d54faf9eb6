"""Which statements are let through: one SELECT whose parse tree holds nothing but what `allowed` lists.

What DuckDB then binds is looked at again (`plans`): a name that means something else to it than here is refused there.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from lakehouse.query.engine.allowed import EXPRESSIONS, FUNCTIONS, NODES, TABLE_FUNCTIONS, VOLATILE
from lakehouse.query.engine.catalog import CATALOG_FUNCTIONS, CATALOG_RELATIONS, CATALOG_TABLE_FUNCTIONS
from lakehouse.query.engine.parsing import Parser
from lakehouse.query.engine.postgres_catalog import FUNCTIONS as POSTGRES_FUNCTIONS
from lakehouse.query.engine.postgres_catalog import OWN as POSTGRES_RELATIONS
from lakehouse.query.engine.postgres_catalog import SCHEMA as POSTGRES
from lakehouse.query.engine.problems import QueryError, place

CATALOG = "lakehouse"
# DuckDB can't be interrupted while it plans: these hold what a short text may cost there to seconds.
MAX_LEVELS = 250
"""Of expressions, selects and tables, one inside of the other."""
MAX_FUNCTIONS = 10_000_000
"""Of functions the squares of how deep each lies in others, added up: two sums of 250 terms, or thirty of a hundred.
It takes cubic time for a chain of them."""
MAX_SELECTS = 1_000
"""Its time grows with their square."""
MAX_SUBQUERIES = 10
"""Of subqueries inside of expressions, one inside of the other. The time doubles with each, and where a WITH clause is
read once, and so put in its reader's place, it takes three to four times as long."""
NOWHERE = 2**63
OPERATOR = re.compile(r"[^a-z0-9_\s\"]{1,4}", re.IGNORECASE | re.ASCII)
SHOWN = frozenset({"DESCRIBE", "SUMMARY"})
TABLE_NAMES = "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() ORDER BY ALL"
"""SHOW TABLES: in DuckDB the names in one schema, without it."""
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Statement:
    """What was let through."""

    sql: str
    explain: str
    """Its EXPLAIN, when its plan is asked for."""
    repeatable: bool
    """Whether its answer is the same every time."""
    tables: frozenset[str]
    """The served tables that it names, as the release spells them."""
    asks_catalog: bool
    """Whether it asks what tables there are, instead of what is in them."""
    schema: str = ""
    """Where tables lie that it names without their schema."""
    names: tuple[str, ...] = ()
    """What PostgreSQL calls its columns, `*` for any number of them; "" for what it and DuckDB call the same."""


def folded(name: str) -> str:
    """As DuckDB compares names: only ASCII letters have no case."""
    return name.translate(_LOWER)


def check(parser: Parser, sql: str, served: Collection[str], schema: str = "") -> Statement:
    """Let a statement over the tables `served` (`schema.table`) through. `schema`: of names that come without one.

    Raises:
        QueryError: the statement can't be parsed or is refused; it says why and where.
    """
    parsed = parser.parse(sql)
    walk = _Walk(parsed.sql, {folded(name): name for name in served}, folded(schema))
    walk.over(parsed.node)
    if walk.asks_catalog and walk.tables:
        raise QueryError(
            "refused", "What tables there are and what is in them are asked in two statements: this one asks both."
        )
    sql = TABLE_NAMES if walk.lists_tables else parsed.sql
    return Statement(
        sql, parsed.explain, walk.repeatable, frozenset(walk.tables), walk.asks_catalog,
        schema if walk.needs_schema else "", () if walk.lists_tables or parsed.explain else column_names(parsed.node),
    )  # fmt: skip


MAIN, ITSELF = 0, -1
Scope = Mapping[str, int]
"""The names of the WITH clauses that a place in the tree sees, and their numbers. A recursive one sees ITSELF."""


class Where(NamedTuple):
    """Where a part of the tree lies: in which WITH clause, or MAIN; below how many subqueries and functions there."""

    clause: int = MAIN
    subqueries: int = 0
    functions: int = 0


_Below = tuple[Any, Scope, bool, Where]
"""A part of the tree, what it sees, whether it is a type, and where it lies."""
_Part = tuple[*_Below, int]
"""The same with its level."""


class _Walk:
    """A walk over one tree, without recursion: a tree may be deep."""

    def __init__(self, sql: str, served: Mapping[str, str], schema: str):
        self.sql = sql
        self.served = served
        self.schema = schema
        self.needs_schema = False
        self.repeatable = True
        self.tables: set[str] = set()
        self.asks_catalog = False
        self.lists_tables = False
        self._left: list[_Part] = []
        self._function_weight = 0
        self._selects = 0
        self._subqueries = [0]
        """How deep those of each clause go, by its number."""
        self._readers: dict[int, list[Where]] = {}
        """Where each clause is read."""

    def over(self, node: dict[str, Any]) -> None:
        """Raises QueryError at the first thing that is not allowed."""
        self.lists_tables = _is_show_tables(node)
        self._left = [(node, {}, False, Where(), 0)]
        while self._left:
            item, scope, in_type, where, level = self._left.pop()
            if isinstance(item, list):
                below: Iterable[_Below] = ((one, scope, in_type, where) for one in item)
            elif in_type:
                below = self._type(item, scope, where)
            else:
                level += "class" in item or "type" in item
                if level > MAX_LEVELS:
                    raise self._refused(f"The statement is nested deeper than {MAX_LEVELS} levels.", item)
                below = self._item(item, scope, where)
            self._left += reversed([(*one, level) for one in below if isinstance(one[0], (dict, list))])
        self._check_subqueries()

    def _check_subqueries(self) -> None:
        """A clause that is read once is planned as if it stood there."""
        sorter = TopologicalSorter({clause: {one.clause for one in found} for clause, found in self._readers.items()})
        above = {MAIN: 0}
        for clause in sorter.static_order():
            readers = self._readers.get(clause, [])
            above[clause] = above[readers[0].clause] + readers[0].subqueries if len(readers) == 1 else 0
        if any(above.get(clause, 0) + own > MAX_SUBQUERIES for clause, own in enumerate(self._subqueries)):
            raise QueryError(
                "refused",
                f"Subqueries lie inside of each other, more than {MAX_SUBQUERIES} deep. Of a WITH clause that is read "
                "twice they don't count.",
            )

    def _type(self, item: dict[str, Any], scope: Scope, where: Where) -> list[_Below]:
        """A type is a name and its numbers: nothing in it is evaluated."""
        if item.get("class", "TYPE") not in ("TYPE", "CONSTANT"):
            raise self._refused("An expression is not allowed in a type.", item)
        return [(value, scope, True, where) for value in item.values()]

    def _item(self, item: dict[str, Any], scope: Scope, where: Where) -> list[_Below]:
        """What is below it, each with what it sees."""
        below: list[_Below] = []
        # Each query of a WITH clause sees those before it.
        for entry in (item.get("cte_map") or {}).get("map", ()):
            below.append((entry["value"], scope, False, Where(len(self._subqueries))))
            scope = {**scope, folded(str(entry["key"])): len(self._subqueries)}
            self._subqueries.append(0)
        kind = item.get("class")
        if kind is not None:
            where = self._expression(kind, item, where)
            if kind == "CONSTANT":
                return below
        elif isinstance(item.get("type"), str):
            self._tree_node(item, scope, where)
            where = where._replace(functions=0) if item["type"] == "SELECT_NODE" else where
        for name, value in item.items():
            if name == "function" and item.get("type") == "TABLE_FUNCTION":
                # Its own name was looked at among the table functions.
                below.append((list(value.values()), scope, False, where))
            elif name == "right" and item.get("type") == "RECURSIVE_CTE_NODE":
                # Only this side sees the query itself: to the left its name is what it is outside.
                below.append((value, {**scope, folded(str(item["cte_name"])): ITSELF}, False, where))
            elif name not in ("cte_map", "sample"):
                below.append((value, scope, name == "cast_type", where))
        return below

    def _expression(self, kind: str, item: dict[str, Any], where: Where) -> Where:
        """Where its parts lie."""
        if kind not in EXPRESSIONS:
            raise self._refused(f"{kind.replace('_', ' ').lower()} expressions are not allowed here.", item)
        if kind in ("FUNCTION", "WINDOW"):
            self._function(item, FUNCTIONS, CATALOG_FUNCTIONS)
            where = where._replace(functions=where.functions + 1)
            self._function_weight += where.functions**2
            if self._function_weight > MAX_FUNCTIONS:
                raise self._refused(
                    "Too many functions and operators lie inside of each other. A long sum is short as "
                    "list_sum([a, b, …]), and a long || as concat(a, b, …).", item,
                )  # fmt: skip
        elif kind == "COLUMN_REF" and folded(str(item["column_names"][-1])) in VOLATILE:
            self.repeatable = False
        elif kind == "SUBQUERY":
            where = where._replace(subqueries=where.subqueries + 1, functions=0)
            self._subqueries[where.clause] = max(self._subqueries[where.clause], where.subqueries)
        return where

    def _tree_node(self, item: dict[str, Any], scope: Scope, where: Where) -> None:
        kind = str(item["type"])
        if kind not in NODES:
            raise self._refused(f"{kind.replace('_', ' ').lower()} is not allowed here.", item)
        self._selects += kind == "SELECT_NODE"
        if self._selects > MAX_SELECTS:
            raise self._refused(f"A statement may hold {MAX_SELECTS:,} SELECTs.", item)
        if item.get("sample"):
            self.repeatable = False
        if kind == "TABLE_FUNCTION":
            self._function(item["function"], TABLE_FUNCTIONS, CATALOG_TABLE_FUNCTIONS)
        elif kind == "BASE_TABLE":
            self._table(item, scope, where)
        elif kind == "SHOW_REF":
            self._show(item)

    def _show(self, item: dict[str, Any]) -> None:
        if item.get("query") and item.get("show_type") in SHOWN:
            return
        schema = folded(str(item.get("schema_name") or ""))
        is_list = self.lists_tables or item.get("table_name") == "__show_tables_expanded"
        schemas = {name.partition(".")[0] for name in self.served}
        if is_list or (item.get("show_type") == "SHOW_FROM" and not item.get("catalog_name") and schema in schemas):
            self.asks_catalog = True
            return
        raise self._refused(
            "Of SHOW these are answered: SHOW TABLES, SHOW TABLES FROM a schema, SHOW ALL TABLES. Inside of a "
            "statement ask information_schema.tables.", item,
        )  # fmt: skip

    def _function(self, item: dict[str, Any], allowed: Collection[str], of_catalog: Collection[str]) -> None:
        name = folded(str(item.get("function_name", "")))
        if item.get("schema") == POSTGRES and name in POSTGRES_FUNCTIONS and not item.get("catalog"):
            self.asks_catalog = True
            return
        own = folded(str(item.get("schema") or "main")) in ("main", "pg_catalog") and not item.get("catalog")
        if own and name in of_catalog:
            self.asks_catalog = True
            return
        if not own or (name not in allowed and not OPERATOR.fullmatch(name)):
            near = difflib.get_close_matches(name[:100], allowed, n=1, cutoff=0.8)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise self._refused(f"The function {_cut(name)} is not allowed here.{hint}", item)
        if name in VOLATILE:
            self.repeatable = False

    def _table(self, item: dict[str, Any], scope: Scope, where: Where) -> None:
        asked = [folded(str(item.get(part) or "")) for part in ("catalog_name", "schema_name", "table_name")]
        catalog, schema, table = asked
        if item.get("at_clause"):
            raise self._refused("AT is not allowed here: ask for a release by its number.", item)
        if not catalog and schema in ("", "recurring") and table in scope:
            if scope[table] != ITSELF:
                self._readers.setdefault(scope[table], []).append(where)
            return
        if catalog in ("", CATALOG) and (found := self.served.get(f"{schema}.{table}")):
            self.tables.add(found)
            return
        if not catalog and schema == POSTGRES and table in POSTGRES_RELATIONS:
            self.asks_catalog = True
            return
        if not (catalog or schema) and (found := self.served.get(f"{self.schema}.{table}")):
            self.tables.add(found)
            self.needs_schema = True
            return
        if catalog in ("", CATALOG, "system") and table in CATALOG_RELATIONS.get(schema, ()):
            self.asks_catalog = True
            return
        name = _cut(".".join(part for part in asked if part))
        raise QueryError("unknown-table", f"There is no table {name}.{self._near(name)}", *self._place(item))

    def _near(self, asked: str) -> str:
        by_table = [name for name in self.served if name.split(".")[-1] == asked.split(".")[-1]]
        near = by_table or difflib.get_close_matches(asked, self.served, n=1)
        return f" Did you mean {near[0]}?" if near else _listing(self.served)

    def _refused(self, reason: str, item: dict[str, Any]) -> QueryError:
        return QueryError("refused", reason, *self._place(item))

    def _place(self, item: dict[str, Any]) -> tuple[int | None, int | None]:
        offset = item.get("query_location", NOWHERE)
        return place(self.sql, offset) if offset < NOWHERE else (None, None)


def column_names(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a query's tree."""
    while "left" in node and "select_list" not in node:
        node = node["left"]
    return tuple(map(_column_name, node.get("select_list", ())))


def _column_name(item: Mapping[str, Any]) -> str:
    if item.get("alias"):
        return ""
    kind = item.get("class")
    if kind == "STAR":
        return "*"
    if kind in ("FUNCTION", "WINDOW") and not item.get("is_operator"):
        name = str(item["function_name"])
        return {"count_star": "count", "unnest": ""}.get(name, name)
    if kind == "CAST":
        child = item["child"]
        return str(child["column_names"][-1]) if child.get("class") == "COLUMN_REF" else _column_name(child)
    return {"CASE": "case", "OPERATOR_COALESCE": "coalesce"}.get(str(kind if kind == "CASE" else item.get("type")), "")


def _is_show_tables(node: dict[str, Any]) -> bool:
    """Whether it is SHOW TABLES and nothing else: DuckDB makes a `SELECT * FROM` of it."""
    source = node.get("from_table") or {}
    return (
        source.get("type") == "SHOW_REF"
        and source.get("table_name") == '"tables"'
        and not source.get("query")
        and not node.get("modifiers")
        and not node.get("where_clause")
        and [one.get("query_location") for one in node.get("select_list", ())] == [2**64 - 1]
    )


def _cut(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:100]}…"


def _listing(names: Iterable[str]) -> str:
    found = sorted(names)
    if not found:
        return " The release holds none."
    more = ", …" if len(found) > 5 else ""
    return f" There are {', '.join(found[:5])}{more}"
