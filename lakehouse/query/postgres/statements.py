"""What a PostgreSQL client's statement is: one for the engine, or one of those that a session answers itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lakehouse.query.engine.problems import QueryError

_SKIPPED = r"(?:\s|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)*"
_MARK = re.compile(r"--|/\*|['\";]|\$(?:[A-Za-z_][A-Za-z0-9_]*)?\$")
_LONGEST = 2_000
"""Characters of a statement that is not for the engine: what reads those is no parser."""
_FIRST = re.compile(_SKIPPED + r"(\(|[A-Za-z]+)")
_NAME = r"""(?:"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z0-9_$]*))"""
_VALUE = re.compile(r"""^(?:'((?:[^']|'')*)'|"((?:[^"]|"")*)"|(.*))$""", re.DOTALL)
ASKING = frozenset(
    ["SELECT", "WITH", "VALUES", "FROM", "TABLE", "DESCRIBE", "DESC", "SUMMARIZE", "EXPLAIN", "PIVOT", "UNPIVOT", "("]
)  # fmt: skip
"""The first word of what goes to the engine."""


@dataclass(frozen=True)
class Command:
    """One statement. `kind` is `ask` for the engine, else what the session does."""

    kind: str
    sql: str
    name: str = ""
    value: str = ""
    count: int = 0
    options: dict[str, str] = field(default_factory=dict)


Maker = Callable[[str, str], "Command | None"]


def _parts(sql: str) -> Iterator[tuple[str, int, int]]:
    """The places of `code`, `quoted`, `comment` and `;`, in one go whatever the text is."""
    at = 0
    while found := _MARK.search(sql, at):
        mark, start = found[0], found.start()
        yield "code", at, start
        at = found.end()
        if mark == ";":
            yield ";", start, at
            continue
        if mark == "--":
            end = sql.find("\n", at)
        elif mark == "/*":
            end = sql.find("*/", at)
        elif mark == "'" and sql[start - 1 : start] in ("e", "E") and not sql[start - 2 : start - 1].isidentifier():
            end = _escaped_end(sql, at)
        else:
            end = sql.find(mark, at)
        at = len(sql) if end < 0 else end + (2 if mark == "/*" else 1 if mark == "--" else len(mark))
        yield "comment" if mark in ("--", "/*") else "quoted", start, at
    yield "code", at, len(sql)


def _escaped_end(sql: str, at: int) -> int:
    while at < len(sql) and sql[at] != "'":
        at += 2 if sql[at] == "\\" else 1
    return at if at < len(sql) else -1


def split(sql: str) -> list[str]:
    """The statements of a text, without the empty ones."""
    found, start, is_empty = [], 0, True
    for kind, begin, end in [*_parts(sql), (";", len(sql), len(sql))]:
        if kind == ";":
            if not is_empty:
                found.append(sql[start:begin])
            start, is_empty = end, True
        elif kind == "quoted" or (kind == "code" and not sql[begin:end].isspace() and begin < end):
            is_empty = False
    return found


def _bare(sql: str) -> str:
    """Without comments, and one space where there were some."""
    return " ".join("".join(" " if kind == "comment" else sql[a:b] for kind, a, b in _parts(sql)).split())


def command(sql: str) -> Command:
    """What one statement is.

    Raises:
        QueryError: it is none that is answered here.
    """
    found = _FIRST.match(sql)
    word = found[1].upper() if found else ""
    if word in ASKING:
        return Command("ask", sql)
    maker = _MAKERS.get(word)
    is_long = len(sql) > _LONGEST and word not in ("COPY", "DECLARE")
    made = maker(sql, _bare(sql)) if maker and not is_long else None
    if made is None:
        raise QueryError(
            "refused", f"{word or 'This'} is not answered here: it is read only, and a SELECT is what it reads with."
        )
    return made


def _show(sql: str, bare: str) -> Command | None:
    rest = bare[4:].strip()
    if re.fullmatch(r"(ALL )?TABLES( FROM .+)?", rest, re.IGNORECASE):
        return Command("ask", sql)
    if re.fullmatch(r"TRANSACTION ISOLATION LEVEL", rest, re.IGNORECASE):
        return Command("show", sql, "transaction_isolation")
    if re.fullmatch(r"TIME ZONE", rest, re.IGNORECASE):
        return Command("show", sql, "timezone")
    return Command("show", sql, rest.strip('"').lower())


def _set(sql: str, bare: str) -> Command | None:
    if re.match(r"SET (SESSION CHARACTERISTICS AS )?TRANSACTION\b", bare, re.IGNORECASE):
        return Command("noop", sql, "SET")
    if re.match(r"SET (SESSION AUTHORIZATION|ROLE)\b", bare, re.IGNORECASE):
        return None
    found = re.match(r"SET (?:SESSION |LOCAL )?(?:TIME ZONE (.+)|NAMES (.+)|([\w.]+) ?(?:=| TO )\s?(.+))$", bare, re.I)
    if not found:
        return None
    name = found[3] or ("timezone" if found[1] else "client_encoding")
    return Command("set", sql, name.lower(), _unquoted(found[1] or found[2] or found[4]))


def _reset(sql: str, bare: str) -> Command | None:
    return Command("noop", sql, "RESET")


def _unquoted(text: str) -> str:
    found = _VALUE.match(text.strip())
    assert found
    return (found[1] or found[2] or found[3] or "").replace("''", "'")


def _begin(sql: str, bare: str) -> Command | None:
    # READ WRITE too, which some drivers always say: what would write is refused anyway.
    return Command("begin", sql)


def _end(sql: str, bare: str) -> Command | None:
    if re.match(r"(ROLLBACK|ABORT)( WORK| TRANSACTION)? TO\b", bare, re.IGNORECASE):
        return Command("rollback to", sql)
    if re.search(r"\bPREPARED\b", bare, re.IGNORECASE):
        return None
    return Command("commit" if bare.upper().startswith(("COMMIT", "END")) else "rollback", sql)


def _noop(tag: str) -> Maker:
    return lambda sql, bare: Command("noop", sql, tag)


def _deallocate(sql: str, bare: str) -> Command | None:
    found = re.fullmatch(r"DEALLOCATE (?:PREPARE )?(?:(ALL)|" + _NAME + ")", bare, re.IGNORECASE)
    return Command("deallocate", sql, _name(found[2], found[3])) if found else None


def _name(quoted: str | None, plain: str | None) -> str:
    return quoted.replace('""', '"') if quoted else (plain or "").lower()


def _discard(sql: str, bare: str) -> Command | None:
    return Command("discard", sql)


def _declare(sql: str, bare: str) -> Command | None:
    found = re.match(
        _SKIPPED + r"DECLARE\s+" + _NAME + r"\s+((?:BINARY\s+|ASENSITIVE\s+|INSENSITIVE\s+|NO\s+SCROLL\s+|SCROLL\s+)*)"
        r"CURSOR\s+(WITH\s+HOLD\s+|WITHOUT\s+HOLD\s+)?FOR\s+(.*)$",
        sql, re.IGNORECASE | re.DOTALL,
    )  # fmt: skip
    if not found:
        return None
    binary = "yes" if "BINARY" in found[3].upper() else ""
    held = "yes" if found[4] and found[4].upper().startswith("WITH ") else ""
    return Command("declare", found[5], _name(found[1], found[2]), options={"binary": binary, "held": held})


def _fetch(sql: str, bare: str) -> Command | None:
    found = re.fullmatch(
        r"(FETCH|MOVE) (?:(NEXT|FORWARD ALL|ALL|FORWARD \d+|FORWARD|\d+) )?(?:FROM |IN )?" + _NAME, bare, re.IGNORECASE
    )
    if not found:
        raise QueryError("refused", "A cursor goes forward only: FETCH [FORWARD] [n | ALL] FROM name.")
    how = (found[2] or "NEXT").upper().removeprefix("FORWARD").strip() or "NEXT"
    count = -1 if how == "ALL" else 1 if how == "NEXT" else int(how)
    return Command(found[1].lower(), sql, _name(found[3], found[4]), count=count)


def _close(sql: str, bare: str) -> Command | None:
    found = re.fullmatch(r"CLOSE (?:(ALL)|" + _NAME + ")", bare, re.IGNORECASE)
    return Command("close", sql, _name(found[2], found[3])) if found else None


def _copy(sql: str, bare: str) -> Command | None:
    ends = list(re.finditer(r"\bTO\s+STDOUT\b", sql, re.IGNORECASE))
    begin = re.match(_SKIPPED + r"COPY\b", sql, re.IGNORECASE)
    if not ends or not begin or len(sql) - ends[-1].end() > _LONGEST:
        raise QueryError("refused", "Of COPY only COPY (SELECT …) TO STDOUT is answered here: it is read only.")
    what = sql[begin.end() : ends[-1].start()].strip()
    told = re.sub(r"^\s*WITH\b\s*", "", sql[ends[-1].end() :], flags=re.IGNORECASE).strip()
    if what.startswith("(") and what.endswith(")"):
        what = what[1:-1]
    else:
        table, _, columns = what.partition("(")
        what = f"SELECT {columns.rstrip().removesuffix(')') or '*'} FROM {table}"
    return Command("copy", what, options=_copy_options(told))


def _copy_options(told: str) -> dict[str, str]:
    options = {"format": "text"}
    inner = told[1:-1] if told.startswith("(") and told.endswith(")") else told
    pattern = re.compile(r"\s*(FORMAT|DELIMITER|NULL|HEADER|ENCODING|CSV|BINARY|TEXT)\b\s*(AS\b)?\s*", re.IGNORECASE)
    at = 0
    while at < len(inner.rstrip()):
        if inner[at] in ", \n\t":
            at += 1
            continue
        found = pattern.match(inner, at)
        if not found:
            raise QueryError("refused", "Of COPY, FORMAT, DELIMITER, NULL, HEADER and ENCODING are known here.")
        name, at = found[1].upper(), found.end()
        if name in ("CSV", "BINARY", "TEXT"):
            options["format"] = name.lower()
            continue
        value = re.compile(r"[eE]?'((?:[^']|'')*)'|(\w+)").match(inner, at)
        if name == "HEADER" and (not value or value[0].upper() in ("DELIMITER", "NULL", "FORMAT", "ENCODING")):
            options["header"] = "true"
            continue
        if not value:
            raise QueryError("syntax", f"COPY's option {name} has no value.")
        at = value.end()
        text = value[1].replace("''", "'") if value[1] is not None else value[2]
        options[name.lower()] = "\t" if text == "\\t" else text
    options["format"] = options["format"].lower()
    if options["format"] not in ("text", "csv", "binary"):
        raise QueryError("refused", "COPY's formats here are text, csv and binary.")
    if len(options.get("delimiter", "x").encode()) != 1 or options.get("delimiter") in ("\n", "\r", '"', "\\"):
        raise QueryError("refused", "COPY's DELIMITER must be one character of ASCII.")
    return options


_MAKERS: dict[str, Maker] = {
    "SHOW": _show, "SET": _set, "RESET": _reset, "BEGIN": _begin, "START": _begin, "COMMIT": _end, "END": _end,
    "ROLLBACK": _end, "ABORT": _end, "SAVEPOINT": _noop("SAVEPOINT"), "RELEASE": _noop("RELEASE"),
    "DEALLOCATE": _deallocate, "DISCARD": _discard, "DECLARE": _declare, "FETCH": _fetch, "MOVE": _fetch,
    "CLOSE": _close, "COPY": _copy, "UNLISTEN": _noop("UNLISTEN"),
}  # fmt: skip
