"""A page that a team wrote: Markdown with fenced blocks of SQL, filters, figures, charts and tables."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

LONGEST = 100_000
"""Characters of a page."""
MOST_BLOCKS = 200
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
TAKEN = ("tables", "static", "media", "component", "healthz")
"""Addresses of the dashboard's own."""
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PARAMETER = re.compile(
    r"""'[^']*(?:'|\Z) | "[^"]*(?:"|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z) | \$\$.*?(?:\$\$|\Z) | \$(\w+)""",
    re.VERBOSE | re.DOTALL,
)
MOST = 2**53 - 1
"""The largest number that a browser tells from the next."""
CHARTS = ("line", "area", "bar", "scatter", "map")
KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    "chart": {"kind": (str,), "x": (str,), "y": (str, list), "color": (str,), "title": (str,), "unit": (str,),
              "beside": (bool,)},
    "table": {"title": (str,), "units": (dict,), "beside": (bool,)},
    "figures": {"units": (dict,)},
    "filter": {"title": (str,), "options": (str, list), "all": (str,), "dates": (str,), "min": (int, float),
               "max": (int, float), "default": (str, int, float)},
}  # fmt: skip
"""What is written into each kind of block, as TOML."""
IN_WORDS = {str: "a text", list: "a list", bool: "true or false", int: "a number", float: "a number", dict: "a table"}


class PageError(Exception):
    """A page can't be shown as it is written: one sentence that names file, line, block, reason and remedy."""


@dataclass(frozen=True)
class Block:
    """A piece of a page."""

    kind: str
    """`text`, `sql`, `filter`, `figures`, `chart` or `table`."""
    line: int
    name: str = ""
    """Of a query or a filter."""
    text: str = ""
    """Markdown, or SQL."""
    options: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    """The name of the query that it shows, or whose first column is chosen from."""
    parameters: frozenset[str] = frozenset()
    """Of a query: the `$name` in it."""
    filters: frozenset[str] = frozenset()
    """The names of the filters that it changes with."""

    def columns(self) -> Iterator[str]:
        """The columns of its query that it names."""
        for key in ("x", "y", "color", "units"):
            value = self.options.get(key, ())
            yield from (value,) if isinstance(value, str) else value


@dataclass(frozen=True)
class Page:
    """A page as it is written. What a block names stands above it."""

    name: str
    title: str
    blocks: tuple[Block, ...] = ()

    def fault(self, block: Block, reason: str, below: int = 0) -> PageError:
        """What is wrong with a block, so many lines below its first."""
        name = block.name if WORD.fullmatch(block.name) else ""
        return _fault(self.name, block.line + below, f"{block.kind} {name}".strip(), reason)

    def check(self, block: Block, columns: Sequence[str]) -> None:
        """Raises PageError where a block names a column that its query, which has these, doesn't have."""
        for name in block.columns():
            if name not in columns:
                query = f"the query {block.query}" if WORD.fullmatch(block.query) else "its query"
                raise self.fault(block, f"{query} has no column {name}: {_one_of(name, columns)}")

    def groups(self) -> Iterator[tuple[tuple[Block, ...], bool]]:
        """The blocks in order, and whether these change with filters among them: a change draws them alone."""
        last = {name: number for number, block in enumerate(self.blocks) for name in block.filters}
        start = 0
        while start < len(self.blocks):
            changes = self.blocks[start].kind == "filter"
            number = end = start
            while number < len(self.blocks) and (number <= end if changes else self.blocks[number].kind != "filter"):
                if self.blocks[number].kind == "filter":
                    end = max(end, last[self.blocks[number].name])
                number += 1
            yield self.blocks[start:number], changes
            start = number


@lru_cache(maxsize=256)
def parse(name: str, text: str) -> Page:
    """The page of a file `NAME.md`.

    Raises:
        PageError: it is faulty.
    """
    if NAME.fullmatch(name) is None or name in TAKEN:
        reason = "taken" if name in TAKEN else "no name: small letters, digits, - and _ make one"
        raise _fault(name, 1, "file", f"{name} is {reason}; rename the file")
    if len(text) > LONGEST:
        raise _fault(name, 1, "file", f"it has more than {LONGEST:,} characters; make two pages of it")
    if "\ufffd" in text:
        line = text[: text.index("\ufffd")].count("\n") + 1
        raise _fault(name, line, "text", "it is no UTF-8 here; save the file as UTF-8")
    reader = _Reader(name)
    title = ""
    for kind, argument, body, line in _fences(name, text):
        if kind != "text":
            reader.add(kind, argument, body, line)
            continue
        first, _, rest = body.lstrip().partition("\n")
        if first.startswith("# ") and not title and not reader.blocks:
            title, body = first.strip("# "), rest
        if body.strip():
            reader.blocks.append(Block("text", line, text=body))
    blocks = tuple(reader.whole())
    if len(blocks) > MOST_BLOCKS:
        raise _fault(name, 1, "file", f"it has more than {MOST_BLOCKS} blocks; make two pages of it")
    return Page(name, title or name.replace("-", " ").replace("_", " ").capitalize(), blocks)


def _fault(page: str, line: int, block: str, reason: str) -> PageError:
    end = "" if reason.endswith(("?", "!", "…")) else "."
    return PageError(f"pages/{page}.md, line {line}, {block}: {reason.rstrip('.')}{end}")


def _is_number(value: object) -> bool:
    """One that a browser can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST


def _one_of(name: str, known: Collection[Any]) -> str:
    """What to write instead."""
    known = [str(one) for one in known]
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"write {close[0]}"
    return f"name one of {', '.join(known)}" if known else "there is none to name"


def _fences(page: str, text: str) -> Iterator[tuple[str, str, str, int]]:
    """The pieces of a file: kind, what stands behind it, text, first line. Fences of other kinds are text."""
    lines, begun, number = text.replace("\r\n", "\n").split("\n"), 0, 0
    while number < len(lines):
        told = lines[number].strip().lstrip("`")
        marks = lines[number].strip()[: -len(told) or None]
        if len(marks) < 3 or "`" in told:
            number += 1
            continue
        kind, _, argument = told.strip().partition(" ")
        end = number + 1
        while end < len(lines) and not (lines[end].strip().startswith(marks) and not lines[end].strip("` \t")):
            end += 1
        if kind == "sql" or kind in KEYS:
            if end == len(lines):
                raise _fault(page, number + 1, kind, f"it has no end; close it with a line {marks}")
            yield "text", "", "\n".join(lines[begun:number]), begun + 1
            yield kind, argument.strip(), "\n".join(lines[number + 1 : end]), number + 1
            begun = end + 1
        number = end + 1
    yield "text", "", "\n".join(lines[begun:]), begun + 1


class _Reader:
    """Blocks as they come; what one names was there before."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.blocks: list[Block] = []
        self.queries: dict[str, Block] = {}
        self.parameters: dict[str, Block] = {}
        """The filter behind each `$name`."""

    def add(self, kind: str, argument: str, body: str, line: int) -> None:
        """A fenced block."""
        block = f"{kind} {argument}".strip()
        if argument and WORD.fullmatch(argument) is None:
            raise _fault(self.page, line, kind, f"{argument} is no name; one is made of letters, digits and _")
        if kind == "sql":
            self._query(argument, body, line, block)
            return
        options = self._options(kind, body, line, block)
        if kind == "filter":
            self._filter(argument, options, line, block)
            return
        chosen = options.get("kind", CHARTS[0])
        if chosen not in CHARTS:
            raise _fault(self.page, line, block, f"{chosen} is no kind of chart; {_one_of(chosen, CHARTS)}")
        query = self._above(argument, line, block)
        self.blocks.append(Block(kind, line, argument, options=options, query=query.name, filters=query.filters))

    def whole(self) -> Iterator[Block]:
        """All, and a chart of each query that nothing shows."""
        used = {block.query for block in self.blocks}
        for block in self.blocks:
            yield block
            if block.kind == "sql" and block.name not in used:
                yield Block("chart", block.line, query=block.name, filters=block.filters)

    def _query(self, argument: str, body: str, line: int, block: str) -> None:
        name = argument or f"of line {line}"
        if name in self.queries:
            raise _fault(self.page, line, block, "there is a query of this name above; rename one of them")
        if not body.strip():
            raise _fault(self.page, line, block, "it is empty; write a SELECT")
        used = frozenset(found[1] for found in PARAMETER.finditer(body) if found[1])
        for one in sorted(used):
            if one not in self.parameters:
                known = [f"${other}" for other in self.parameters]
                raise _fault(self.page, line, block, f"no filter above it gives ${one}; {_one_of(f'${one}', known)}")
        behind = [self.parameters[one] for one in used]
        filters = frozenset(name for one in behind for name in (one.name, *one.filters))
        query = Block("sql", line, name, body, parameters=used, filters=filters)
        self.queries[name] = query
        self.blocks.append(query)

    def _filter(self, name: str, options: Mapping[str, Any], line: int, block: str) -> None:
        if not name:
            raise _fault(self.page, line, block, "it has no name; write ```filter NAME, and $NAME in the SQL below")
        kinds = [key for key in ("options", "dates", "min") if key in options]
        if len(kinds) != 1 or ("max" in options) != ("min" in options):
            raise _fault(self.page, line, block, "it is chosen from one thing; give options, or dates, or min and max")
        source = options[kinds[0]]
        default = options.get("default")
        if isinstance(source, list):
            if not source or not all(isinstance(one, str) or _is_number(one) for one in source):
                raise _fault(self.page, line, block, "options are texts or numbers; list one at least")
            if default is not None and default not in source:
                raise _fault(self.page, line, block, f"its default is none of its options; {_one_of('', source)}")
        if kinds == ["min"]:
            sizes = [options["min"], options["min"] if default is None else default, options["max"]]
            if not all(_is_number(one) for one in sizes) or sorted(sizes) != sizes:
                raise _fault(self.page, line, block, "min, default and max are numbers that grow; put them so")
        names = (f"{name}_from", f"{name}_to") if kinds == ["dates"] else (name,)
        query = self._above(source, line, block) if isinstance(source, str) else None
        above = query.filters if query else frozenset[str]()
        found = Block(
            "filter", line, name, options=options, query=query.name if query else "", filters=above | {name}
        )  # fmt: skip
        for one in names:
            if one in self.parameters:
                raise _fault(self.page, line, block, f"${one} is another filter's; rename one of them")
            self.parameters[one] = found
        self.blocks.append(found)

    def _above(self, name: str, line: int, block: str) -> Block:
        """The query of this name; the one above for none."""
        if not self.queries:
            raise _fault(self.page, line, block, "no query stands above it; write one, ```sql NAME")
        if name and name not in self.queries:
            known = [one for one in self.queries if WORD.fullmatch(one)]
            raise _fault(self.page, line, block, f"no query {name} stands above it; {_one_of(name, known)}")
        return self.queries[name] if name else list(self.queries.values())[-1]

    def _options(self, kind: str, body: str, line: int, block: str) -> dict[str, Any]:
        try:
            options = tomllib.loads(body)
        except RecursionError:
            raise _fault(self.page, line, block, "it lies too deep in itself; write plain values") from None
        except ValueError as error:
            said = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", str(error), re.DOTALL)
            place = line + int(said[2]) if said else line
            why = (said[1] if said else str(error)).splitlines()[0]
            raise _fault(self.page, place, block, f'{why}; write TOML, as title = "By month"') from None
        for key, value in options.items():
            place = line + next(
                (n for n, text in enumerate(body.splitlines(), 1) if re.match(rf'\s*"?{re.escape(key)}\b', text)), 0
            )
            wanted = KEYS[kind].get(key)
            if wanted is None:
                raise _fault(self.page, place, block, f"{key} is no key of a {kind}; {_one_of(key, KEYS[kind])}")
            right = isinstance(value, wanted) and (not isinstance(value, bool) or bool in wanted)
            if right and key in ("y", "units") and not isinstance(value, str):
                right = bool(value) and all(
                    isinstance(one, str) for one in (value.values() if key == "units" else value)
                )
            if not right:
                words = " or ".join(dict.fromkeys(IN_WORDS[one] for one in wanted))
                raise _fault(self.page, place, block, f"{key} is not {words}; write it as one, of texts")
        return options
