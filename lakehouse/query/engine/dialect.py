"""What PostgreSQL's clients write, for DuckDB: what it asks of the catalog, and what DuckDB does not understand.

A statement that asks the catalog is always translated, any other only where DuckDB refuses it as it stands.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lakehouse.query.engine.literals import list_items
from lakehouse.query.engine.postgres_catalog import CONSTANTS, FUNCTIONS, INFORMATION, RELATIONS, SCHEMA
from lakehouse.query.engine.problems import QueryError

ASKS_CATALOG = re.compile(
    r"\bpg_(?!typeof|size_pretty)\w+|\bregclass\b|\binformation_schema\b|\bcurrent_setting\b|\bcurrent_database\b"
    r"|\bversion\s*\(|\bcurrent_schema\b|\bcurrent_schemas\b|\bcurrent_user\b|\bsession_user\b|\binet_server|"
    r"\bset_config\b|\bcurrent_catalog\b|\btxid_current\b|\bto_regclass\b",
    re.IGNORECASE,
)
SAME = {
    "json_build_object": "json_object", "jsonb_build_object": "json_object", "every": "bool_and",
    "clock_timestamp": "now", "statement_timestamp": "now",
}  # fmt: skip
"""Functions that DuckDB has by another name."""
NUMBER_LIST = re.compile(
    r"::\s*(?:pg_catalog\.)?(?:oid|regclass|regtype|regnamespace|regrole)\s*\[\s*\]", re.IGNORECASE
)
"""sqlglot takes the brackets behind these for an index."""
VECTORS = ("indkey", "indoption", "indclass", "indcollation")
LIST = re.compile(r"'\{[^']*\}'\s*(?:::|AS\b)\s*\w[\w ]*\[", re.IGNORECASE)
"""An array that is written as a text, and cast: DuckDB would try to, and fail when it runs."""
LONGEST = 20_000
"""Characters of a statement that is translated: the translator is written in Python."""
LEVELS = 1_500
NUMBERS = ("oid", "regclass", "regtype", "regnamespace", "regrole", "xid", "cid", "tid")
TEXTS = (
    "name", "char", "information_schema.sql_identifier", "aclitem", "sql_identifier", "character_data", "cstring",
    "regproc", "regprocedure",
)  # fmt: skip


def readings(sql: str) -> Iterator[tuple[str, bool]]:
    """What the statement may say to DuckDB, the likeliest first, and whether that is a translation to tell of."""
    if ASKS_CATALOG.search(sql):
        yield translated(sql), False
        return
    if "~" in sql or LIST.search(sql):
        # Where PostgreSQL looks for a pattern anywhere in a text, DuckDB wants all of it to match.
        with suppress(QueryError):
            yield translated(sql), True
    yield sql, False
    yield translated(sql), True


def translated(sql: str) -> str:
    """The statement in DuckDB's dialect.

    Raises:
        QueryError: it can't be parsed as PostgreSQL's either.
    """
    import sqlglot
    from sqlglot.errors import SqlglotError

    if len(sql) > LONGEST:
        raise QueryError("too-large", f"A statement that must be translated may have {LONGEST:,} characters.")
    levels = sys.getrecursionlimit()
    sys.setrecursionlimit(LEVELS)
    try:
        told = NUMBER_LIST.sub("::BIGINT[]", sql)
        trees = [tree for tree in sqlglot.parse(told, read="postgres") if tree is not None]
        if len(trees) != 1:
            raise QueryError("syntax", "There is no statement, or more than one.")
        # From below: what stands in a node is DuckDB's before the node is.
        tree = trees[0]
        for node in reversed(list(tree.dfs())):
            new = _for_duckdb(node)
            if new is not node:
                tree = new if node is tree else tree
                node.replace(new)
        return str(tree.sql(dialect="duckdb"))
    except (SqlglotError, RecursionError) as error:
        raise QueryError("syntax", f"The statement can't be parsed: {str(error).splitlines()[0]}") from None
    finally:
        sys.setrecursionlimit(levels)


def _for_duckdb(node: Any) -> Any:
    """What stands in the place of a node of the tree."""
    from sqlglot import exp

    if isinstance(node, exp.Table):
        return _table(node)
    if isinstance(node, exp.Column) and node.db.lower() in ("pg_catalog", "information_schema"):
        node.set("db", None)
        return node
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
        if node.this.name.lower() in ("pg_catalog", "information_schema"):
            return _function(node.expression, node)
    elif isinstance(node, (exp.Func, exp.Column)) and _spelled(node) in CONSTANTS and not _is_in_dot(node):
        return _named(node, _spelled(node), exp.Literal.string(CONSTANTS[_spelled(node)]))
    elif isinstance(node, exp.Anonymous) or (isinstance(node, exp.Func) and node.sql_name().lower() in FUNCTIONS):
        if not isinstance(node.parent, exp.Dot):
            return _function(node, node)
    elif isinstance(node, exp.Cast):
        return _cast(node)
    elif isinstance(node, (exp.EQ, exp.NEQ)):
        return _one_of(node)
    elif isinstance(node, exp.Bracket) and node.this.unnest().name.lower() in VECTORS and len(node.expressions) == 1:
        _count_from_1(node)
    elif isinstance(node, exp.Collate):
        return node.this
    elif isinstance(node, exp.Operator):
        return _operator(node)
    return node


def _count_from_1(node: Any) -> None:
    """An index into one of the arrays that PostgreSQL counts from 0."""
    from sqlglot import exp

    at = node.expressions[0]
    number = at.this if isinstance(at, exp.Neg) else at
    moved: exp.Expression
    if isinstance(number, exp.Literal):
        moved = exp.Literal.number(int(number.name) * (-1 if number is not at else 1) + 1)
    else:
        moved = exp.Add(this=exp.paren(at), expression=exp.Literal.number(1))
    node.set("expressions", [moved])


def _spelled(node: Any) -> str:
    return str(node.sql(dialect="postgres").lower().removesuffix("()"))


def _is_in_dot(node: Any) -> bool:
    from sqlglot import exp

    return isinstance(node.parent, exp.Dot)


def _named(old: Any, name: str, new: Any) -> Any:
    """What stands in its place, called as it would be there."""
    from sqlglot import exp

    return exp.alias_(new, name) if isinstance(old.parent, exp.Select) and old.arg_key == "expressions" else new


def _table(node: Any) -> Any:
    from sqlglot import exp

    schema, name = node.db.lower(), node.this.name.lower()
    if isinstance(node.this, exp.Func) and schema in ("", "pg_catalog") and name not in RELATIONS:
        node.set("db", None)
        alias = node.args.get("alias")
        if alias and not alias.columns:
            # A function's row of one value is that value to PostgreSQL.
            alias.set("columns", [alias.this.copy()])
        return node
    if schema in ("", "pg_catalog") and name in RELATIONS and not node.catalog:
        node.set("this", exp.to_identifier(name))
        node.set("db", exp.to_identifier(SCHEMA))
        if not node.alias:
            return exp.alias_(node, name, table=True)
    elif schema == "information_schema" and name in INFORMATION and node.catalog.lower() in ("", "lakehouse"):
        node.set("this", exp.to_identifier(f"information_{name}"))
        node.set("db", exp.to_identifier(SCHEMA))
        node.set("catalog", None)
        if not node.alias:
            return exp.alias_(node, name, table=True)
    return node


def _function(node: Any, whole: Any) -> Any:
    """A function of PostgreSQL's catalog, or `node` without its schema."""
    from sqlglot import exp

    name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()
    given = list(node.expressions if isinstance(node, exp.Anonymous) else node.iter_expressions())
    if name in CONSTANTS and not given:
        return _named(whole, name, exp.Literal.string(CONSTANTS[name]))
    if name in SAME:
        return exp.Anonymous(this=SAME[name], expressions=given)
    if name in ("array_upper", "array_lower") and len(given) == 2:
        return exp.Anonymous(this="len", expressions=given[:1]) if name == "array_upper" else exp.Literal.number(1)
    return _named(whole, name, _own(name, *given)) if name in FUNCTIONS else node


def _one_of(node: Any) -> Any:
    """`x = ANY(list)` without a subquery, which DuckDB makes of it and can't have everywhere.

    Of `'{a,b}'` it is `x IN ('a', 'b')`, whose texts are taken for what x is.
    """
    from sqlglot import exp

    right = node.expression
    is_all = isinstance(right, exp.Anonymous) and right.name.upper() == "ALL" and len(right.expressions) == 1
    if not (is_all if isinstance(node, exp.NEQ) else isinstance(right, exp.Any)):
        return node
    among = right.expressions[0] if is_all else right.this
    parts = _list_items(among)
    found: exp.Expression
    if parts is not None:
        found = exp.In(this=node.this, expressions=parts) if parts else exp.false()
    elif isinstance(among.unnest(), exp.Column):
        found = exp.Anonymous(this="list_contains", expressions=[among, node.this])
    else:
        return node
    return exp.not_(found) if is_all else found


def _list_items(node: Any) -> list[Any] | None:
    """The literals of an array that is written as a text, `'{a,NULL}'`; None when it is none."""
    from sqlglot import exp

    node = node.unnest()
    if not (isinstance(node, exp.Literal) and node.is_string and node.name.startswith("{")):
        return None
    with suppress(ValueError, IndexError):
        return [exp.Null() if one is None else exp.Literal.string(one) for one in list_items(node.name)]
    return None


def _cast(node: Any) -> Any:
    from sqlglot import exp

    name = _type_name(node)
    if name.endswith("[]") and (parts := _list_items(node.this)) is not None:
        node.set("this", exp.Array(expressions=parts))
    if node.this.name.lower() in VECTORS and name in ("text", "varchar"):
        return exp.Anonymous(this="array_to_string", expressions=[node.this, exp.Literal.string(" ")])
    base = name.removesuffix("[]")
    if base == "regclass" and isinstance(node.this, exp.Literal) and node.this.is_string and base == name:
        return _own("to_regclass", node.this)
    if base in NUMBERS:
        if base == "regtype" and isinstance(node.this, exp.Literal) and node.this.is_string:
            return _own("to_regtype", node.this)
        is_text = isinstance(node.parent, exp.Cast) and _type_name(node.parent) in ("text", "varchar")
        if base in ("regtype", "regclass") and (is_text or not isinstance(node.parent, (exp.EQ, exp.Cast))):
            return _own("format_type" if base == "regtype" else "regclass_name", node.this, *_nulls(base))
        node.set("to", exp.DataType.build("BIGINT[]" if base != name else "BIGINT"))
    elif base in TEXTS:
        node.set("to", exp.DataType.build("TEXT[]" if base != name else "TEXT"))
    elif node.to.sql(dialect="postgres").lower().startswith("pg_catalog."):
        node.set("to", exp.DataType.build(name, dialect="postgres"))
    return node


def _type_name(cast: Any) -> str:
    name: str = cast.to.sql(dialect="postgres")
    return name.lower().replace('"', "").removeprefix("pg_catalog.")


def _nulls(base: str) -> list[Any]:
    from sqlglot import exp

    return [exp.Null()] if base == "regtype" else []


def _own(name: str, *given: Any) -> Any:
    from sqlglot import exp

    return exp.Dot(this=exp.to_identifier(SCHEMA), expression=exp.Anonymous(this=name, expressions=list(given)))


def _operator(node: Any) -> Any:
    """OPERATOR(pg_catalog.~) and its like."""
    from sqlglot import exp

    sign = str(node.args.get("operator")).strip().removeprefix("pg_catalog.").strip()
    left, right = node.this, node.expression
    kinds: dict[str, Any] = {
        "~": lambda: exp.RegexpLike(this=left, expression=right),
        "!~": lambda: exp.not_(exp.RegexpLike(this=left, expression=right)),
        "~~": lambda: exp.Like(this=left, expression=right),
        "=": lambda: exp.EQ(this=left, expression=right),
        "<>": lambda: exp.NEQ(this=left, expression=right),
    }
    return kinds[sign]() if sign in kinds else node
