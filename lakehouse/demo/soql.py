"""The part of SoQL (an open-data portal's query language) that the local portal speaks, as DuckDB SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|`(?P<quoted>[^`]+)`"
    r"|(?P<name>:?@?[A-Za-z_][A-Za-z0-9_]*)|(?P<operator><=|>=|!=|<>|[=<>(),*+\-/]))"
)
WORDS = {"and", "or", "not", "between", "in", "is", "null", "like", "asc", "desc", "true", "false"}
FUNCTIONS = {
    "count": "count",
    "sum": "sum",
    "min": "min",
    "max": "max",
    "avg": "avg",
    "lower": "lower",
    "upper": "upper",
    "starts_with": "starts_with",
    "date_extract_y": "year",
    "date_extract_m": "month",
    "date_extract_d": "day",
}
# A query's clauses, in the order in which $query has them.
CLAUSES = ("select", "where", "group", "having", "order", "limit", "offset")


class NoSuchColumn(ValueError):
    """The query names a column that the dataset doesn't have."""

    def __init__(self, column: str) -> None:
        self.column = column
        super().__init__(column)


class Malformed(ValueError):
    """The query can't be parsed."""


@dataclass(frozen=True)
class Soql:
    """Translates expressions over a dataset whose columns have these SoQL types, by name."""

    types: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def expression(self, soql: str) -> str:
        """An expression ($where, $having, $group, or one item of $select) in SQL."""
        out: list[str] = []
        tokens = list(_tokens(soql))
        for index, (kind, token) in enumerate(tokens):
            is_call = index + 1 < len(tokens) and tokens[index + 1] == ("operator", "(")
            if kind == "name" and is_call and token.lower() not in WORDS:
                if token.lower() not in FUNCTIONS:
                    raise Malformed(soql)
                out.append(FUNCTIONS[token.lower()])
            elif kind == "name" and token.lower() in WORDS:
                out.append(token.lower())
            elif kind in ("name", "quoted"):
                out.append(self._column(token))
            elif kind == "text":
                out.append(_literal(token))
            else:
                out.append(token)
        if not out:
            raise Malformed(soql)
        return " ".join(out)

    def _column(self, name: str) -> str:
        lowered = name.lower()
        if lowered in self.aliases:
            return f'"{lowered}"'
        if lowered not in self.types:
            raise NoSuchColumn(name)
        quoted = f'"{lowered}"'
        if self.types[lowered] == "number":
            return f"CAST({quoted} AS DOUBLE)"
        if self.types[lowered].endswith("_timestamp"):
            return f"CAST({quoted} AS TIMESTAMP)"
        return quoted


def _literal(text: str) -> str:
    """A SoQL text; one that looks like a time compares as one."""
    if re.fullmatch(r"'\d{4}-\d\d-\d\d([T ][\d:.]+Z?)?'", text):
        return f"CAST({text} AS TIMESTAMP)"
    return text


def _tokens(soql: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while soql[position:].strip():
        match = TOKEN.match(soql, position)
        if not match or match.lastgroup is None:
            raise Malformed(soql)
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


def split_select(soql: str) -> list[tuple[str, str | None]]:
    """The items of $select, each with its alias: `count(*) AS n` is ("count(*)", "n")."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(soql + ","):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            items.append(soql[start:position].strip())
            start = position + 1
    if depth or not all(items):
        raise Malformed(soql)
    pairs = []
    for item in items:
        alias = re.fullmatch(r"(.+?)\s+as\s+(\w+)", item, re.IGNORECASE | re.DOTALL)
        pairs.append((alias[1], alias[2]) if alias else (item, None))
    return pairs


def split_query(soql: str) -> dict[str, str]:
    """The clauses of a whole $query, by the names of the parameters that they could have been."""
    words = r"\b(select|where|group\s+by|having|order\s+by|limit|offset)\b(?=(?:[^']*'[^']*')*[^']*$)"
    parts = re.split(words, soql.strip(), flags=re.IGNORECASE)
    if parts[0].strip():
        raise Malformed(soql)
    names = [part.lower().split()[0] for part in parts[1::2]]
    if names != [clause for clause in CLAUSES if clause in names]:
        raise Malformed(soql)
    return {name: text.strip() for name, text in zip(names, parts[2::2], strict=True)}
