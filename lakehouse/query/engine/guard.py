"""Which statements are let through: one SELECT whose parse tree holds nothing but what `allowed` lists.

What DuckDB then binds is looked at again (`plans`): a name that means something else to it than here is refused there.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lakehouse.query.engine.allowed import EXPRESSIONS, FUNCTIONS, NODES, TABLE_FUNCTIONS, VOLATILE
from lakehouse.query.engine.catalog import CATALOG_FUNCTIONS, CATALOG_RELATIONS, CATALOG_TABLE_FUNCTIONS
from lakehouse.query.engine.parsing import Parser
from lakehouse.query.engine.problems import QueryError, place

CATALOG = "lakehouse"
MAX_LEVELS = 250
"""Of expressions, selects and tables, one inside of the other. DuckDB takes cubic time for a sum of constants, and
can't be interrupted there."""
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


def folded(name: str) -> str:
    """As DuckDB compares names: only ASCII letters have no case."""
    return name.translate(_LOWER)


def check(parser: Parser, sql: str, served: Collection[str]) -> Statement:
    """Let a statement over the tables `served` (`schema.table`) through.

    Raises:
        QueryError: the statement can't be parsed or is refused; it says why and where.
    """
    parsed = parser.parse(sql)
    walk = _Walk(parsed.sql, {folded(name): name for name in served})
    walk.over(parsed.node)
    if walk.asks_catalog and walk.tables:
        raise QueryError(
            "refused", "What tables there are and what is in them are asked in two statements: this one asks both."
        )
    sql = TABLE_NAMES if walk.lists_tables else parsed.sql
    return Statement(sql, parsed.explain, walk.repeatable, frozenset(walk.tables), walk.asks_catalog)


Scope = frozenset[str]
"""The names of the WITH clauses that a place in the tree sees."""
_Below = tuple[Any, Scope, bool]
"""A part of the tree, what it sees, and whether it is a type."""
_Part = tuple[Any, Scope, bool, int]
"""The same with its level."""


class _Walk:
    """A walk over one tree, without recursion: a tree may be deep."""

    def __init__(self, sql: str, served: Mapping[str, str]):
        self.sql = sql
        self.served = served
        self.repeatable = True
        self.tables: set[str] = set()
        self.asks_catalog = False
        self.lists_tables = False
        self._left: list[_Part] = []

    def over(self, node: dict[str, Any]) -> None:
        """Raises QueryError at the first thing that is not allowed."""
        self.lists_tables = _is_show_tables(node)
        self._left = [(node, frozenset(), False, 0)]
        while self._left:
            item, scope, in_type, level = self._left.pop()
            if isinstance(item, list):
                below: Iterable[_Below] = ((one, scope, in_type) for one in item)
            elif in_type:
                below = self._type(item, scope)
            else:
                level += "class" in item or "type" in item
                if level > MAX_LEVELS:
                    raise self._refused(f"The statement is nested deeper than {MAX_LEVELS} levels.", item)
                below = self._item(item, scope)
            self._left += reversed([(*one, level) for one in below if isinstance(one[0], (dict, list))])

    def _type(self, item: dict[str, Any], scope: Scope) -> list[_Below]:
        """A type is a name and its numbers: nothing in it is evaluated."""
        if item.get("class", "TYPE") not in ("TYPE", "CONSTANT"):
            raise self._refused("An expression is not allowed in a type.", item)
        return [(value, scope, True) for value in item.values()]

    def _item(self, item: dict[str, Any], scope: Scope) -> list[_Below]:
        """What is below it, each with what it sees."""
        below: list[_Below] = []
        # Each query of a WITH clause sees those before it.
        for entry in (item.get("cte_map") or {}).get("map", ()):
            below.append((entry["value"], scope, False))
            scope |= {folded(str(entry["key"]))}
        kind = item.get("class")
        if kind is not None:
            self._expression(kind, item)
            if kind == "CONSTANT":
                return below
        elif isinstance(item.get("type"), str):
            self._tree_node(item, scope)
        for name, value in item.items():
            if name == "function" and item.get("type") == "TABLE_FUNCTION":
                # Its own name was looked at among the table functions.
                below.append((list(value.values()), scope, False))
            elif name == "right" and item.get("type") == "RECURSIVE_CTE_NODE":
                # Only this side sees the query itself: to the left its name is what it is outside.
                below.append((value, scope | {folded(str(item["cte_name"]))}, False))
            elif name not in ("cte_map", "sample"):
                below.append((value, scope, name == "cast_type"))
        return below

    def _expression(self, kind: str, item: dict[str, Any]) -> None:
        if kind not in EXPRESSIONS:
            raise self._refused(f"{kind.replace('_', ' ').lower()} expressions are not allowed here.", item)
        if kind in ("FUNCTION", "WINDOW"):
            self._function(item, FUNCTIONS, CATALOG_FUNCTIONS)
        elif kind == "COLUMN_REF" and folded(str(item["column_names"][-1])) in VOLATILE:
            self.repeatable = False

    def _tree_node(self, item: dict[str, Any], scope: Scope) -> None:
        kind = str(item["type"])
        if kind not in NODES:
            raise self._refused(f"{kind.replace('_', ' ').lower()} is not allowed here.", item)
        if item.get("sample"):
            self.repeatable = False
        if kind == "TABLE_FUNCTION":
            self._function(item["function"], TABLE_FUNCTIONS, CATALOG_TABLE_FUNCTIONS)
        elif kind == "BASE_TABLE":
            self._table(item, scope)
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

    def _table(self, item: dict[str, Any], scope: Scope) -> None:
        asked = [folded(str(item.get(part) or "")) for part in ("catalog_name", "schema_name", "table_name")]
        catalog, schema, table = asked
        if item.get("at_clause"):
            raise self._refused("AT is not allowed here: ask for a release by its number.", item)
        if not catalog and schema in ("", "recurring") and table in scope:
            return
        if catalog in ("", CATALOG) and (found := self.served.get(f"{schema}.{table}")):
            self.tables.add(found)
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
