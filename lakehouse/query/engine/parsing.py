"""A statement's text and its parse tree: DuckDB's own tokens and tree, so what is looked at is what will run."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import Any

import duckdb

from lakehouse.query.engine.problems import QueryError, place

MAX_BYTES = 100_000
TREE_LEVELS = 20_000
"""DuckDB stops at an expression of 1,000 levels; each takes a few in its JSON."""
WORD = re.compile(rb"[A-Za-z_]+|.", re.DOTALL)
PLAN_FORMATS = frozenset({b"text", b"json", b"html", b"graphviz", b"yaml", b"mermaid"})


@dataclass(frozen=True)
class Parsed:
    """One SELECT."""

    sql: str
    """Without an EXPLAIN before it (spaces, so that places stay) and without what stands behind its end."""
    node: dict[str, Any]
    explain: str = ""
    """The EXPLAIN that stood before it."""


class Parser:
    """Parses in a DuckDB of its own, which holds and reaches nothing."""

    def __init__(self) -> None:
        # Python counts the levels of JSON that its C code reads as calls of functions.
        sys.setrecursionlimit(max(sys.getrecursionlimit(), TREE_LEVELS))
        self._connection = duckdb.connect(
            config={"enable_external_access": False, "threads": 1, "python_enable_replacements": False}
        )
        self._connection.execute("LOAD json")

    def parse(self, sql: str) -> Parsed:
        """Raises QueryError: it isn't one SELECT; the error says why and where."""
        if len(sql.encode()) > MAX_BYTES:
            raise QueryError("too-large", f"A statement may have {MAX_BYTES:,} bytes.")
        if "\0" in sql:
            raise QueryError("syntax", "The statement holds a NUL character.", *place(sql, sql.index("\0")))
        sql = single(sql)
        sql, explain = _explained(sql)
        sql = _without_hints(sql)
        return Parsed(sql, self._tree(sql), explain)

    def _tree(self, sql: str) -> dict[str, Any]:
        try:
            row = self._connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
        except duckdb.Error as error:
            raise QueryError("syntax", f"The statement can't be parsed: {first_line(error)}") from None
        assert row is not None
        try:
            tree: dict[str, Any] = json.loads(row[0])
        except RecursionError:
            raise QueryError("refused", "The statement is nested too deeply.") from None
        if tree.get("error"):
            if tree.get("error_type") == "not implemented":
                raise QueryError("refused", self._why_no_select(sql))
            message = str(tree.get("error_message", ""))
            position = tree.get("position")
            where = place(sql, int(position)) if position else (None, None)
            raise QueryError("syntax", f"{message[:1].upper()}{message[1:]}.", *where)
        if len(tree["statements"]) != 1:
            raise QueryError("syntax", "There is no statement.")
        node: dict[str, Any] = tree["statements"][0]["node"]
        return node

    def _why_no_select(self, sql: str) -> str:
        try:
            several = len(self._connection.extract_statements(sql)) > 1
        except duckdb.Error:
            several = False
        if several:
            # DuckDB would first make a type of the values that it finds.
            return "PIVOT answers here only for values that are named: write ON column IN ('a', 'b')."
        return "Only a SELECT is answered here."


def _word(content: bytes, offset: int) -> bytes:
    found = WORD.match(content, offset)
    return found[0].lower() if found else b""


def single(sql: str) -> str:
    """The one statement, without semicolons before and behind it and what stands behind them.

    Raises:
        QueryError: there are several.
    """
    content = sql.encode()
    ends = [at for at, _ in duckdb.tokenize(sql)]
    semicolons = [at for at in ends if content[at : at + 1] == b";"]
    words = [at for at in ends if content[at : at + 1] != b";"]
    if not semicolons or not words:
        return sql
    if before := [at for at in semicolons if at < words[0]]:
        head = bytearray(content)
        for at in before:
            head[at] = 0x20
        content = bytes(head)
    end = next((at for at in semicolons if at > words[0]), None)
    if end is None:
        return content.decode()
    if words[-1] > end:
        raise QueryError("refused", "One statement is answered at a time; there are several.", *place(sql, end))
    return content[:end].decode()


def _without_hints(sql: str) -> str:
    """Without NOT MATERIALIZED: each reading of the WITH clause would be planned anew, and of what that reads again."""
    content = bytearray(sql.encode())
    ends = [at for at, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    words = [_word(bytes(content[at : at + 20]), 0) for at in ends]
    for number, word in enumerate(words[2:], 2):
        if word == b"materialized" and words[number - 2 : number] == [b"as", b"not"]:
            start, end = ends[number - 1], ends[number] + len(word)
            content[start:end] = re.sub(rb"[^\n]", b" ", content[start:end])
    return content.decode()


def _explained(sql: str) -> tuple[str, str]:
    """The statement behind an EXPLAIN, and that EXPLAIN as it may be written.

    Raises:
        QueryError: it would run what it explains.
    """
    content = sql.encode()
    places = [at for at, _ in duckdb.tokenize(sql)]
    words = [_word(content, at) for at in places[:6]]
    if words[:1] != [b"explain"]:
        return sql, ""
    rest, explain = places[1:2], "EXPLAIN"
    if b"analyze" in (*words[1:2], *(words[2:3] if words[1:2] == [b"("] else ())):
        raise QueryError("refused", "EXPLAIN ANALYZE is not answered here: it runs what it explains.")
    if words[1:3] == [b"(", b"format"] and words[3] in PLAN_FORMATS and words[4:5] == [b")"]:
        rest, explain = places[5:6], f"EXPLAIN (FORMAT {words[3].decode()})"
    begin = rest[0] if rest else len(content)
    blank = re.sub(rb"[^\n]", b" ", content[:begin])
    return (blank + content[begin:]).decode(), explain


def first_line(error: Exception) -> str:
    """DuckDB's message without its kind and its picture of the statement; of its advice the columns that are near."""
    first, *rest = re.sub(r"^[A-Za-z ]+ Error: ", "", str(error)).split("\n")
    near = next((line for line in rest if line.startswith("Candidate bindings: ")), "")
    return f"{first.strip()} {near}".strip()
