"""How a dataset's files are written as text: what a declaration may say of it, and the SQL that reads such values."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

ONE_CHARACTER = ("delimiter", "quote", "escape", "decimal", "thousands")
_NO_DAY = "it needs a year, a month and a day: %Y or %y, %m, %b or %B, and %d"
_TIME_PARTS = re.compile("%[HIMSfgpnzZcX]")


@dataclass(frozen=True)
class Dialect:
    """What a dataset's text files do otherwise than RFC 4180 in UTF-8, with points and ISO dates.

    `escape` is the quote itself where it is "". `skip_rows` lines come before the header, which has `header_rows`
    lines: with more than one, a column is called by all of its cells; with none, the columns are the declared ones in
    their order. Lines that begin with `comment` are none. `date_format` and `timestamp_format` are strptime's, with
    English month names; once declared, nothing else is read as a date or a timestamp. `null_texts` are NULL as blank
    text is. `sheet` is a workbook's; the first one where it is "".
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    date_format: str = ""
    timestamp_format: str = ""
    skip_rows: int = 0
    header_rows: int = 1
    comment: str = ""
    null_texts: tuple[str, ...] = ()
    sheet: str = ""

    @property
    def is_utf8(self) -> bool:
        """Whether its bytes are read as they are."""
        return codecs.lookup(self.encoding).name == "utf-8"

    @property
    def has_plain_numbers(self) -> bool:
        """Whether a number is written as SQL writes it."""
        return self.decimal == "." and not self.thousands

    def number(self, text: str) -> str:
        """SQL: a number's text as SQL writes it, and what isn't written so as text that is no number."""
        if self.has_plain_numbers:
            return text
        digits, plain = "[0-9]+", text
        if self.thousands:
            mark = "[ \u00a0\u202f]" if self.thousands == " " else f"[{re.escape(self.thousands)}]"
            digits = f"([0-9]+|[0-9]{{1,3}}({mark}[0-9]{{3}})+)"
            plain = f"regexp_replace({plain}, {_sql(mark)}, '', 'g')"
        decimal = f"[{re.escape(self.decimal)}]"
        form = f"[+-]?({digits}({decimal}[0-9]*)?|{decimal}[0-9]+)([eE][+-]?[0-9]+)?"
        if self.decimal != ".":
            plain = f"replace({plain}, {_sql(self.decimal)}, '.')"
        return f"CASE WHEN regexp_full_match({text}, {_sql(form)}) THEN {plain} ELSE 'no number: ' || {text} END"

    def time(self, text: str) -> tuple[str, str]:
        """SQL: a text as a time by the declared formats, and whether it is one."""
        formats = [one for one in (self.date_format, self.timestamp_format) if one]
        value = f"TRY_STRPTIME({text}, [{', '.join(map(_sql, formats))}])"
        return value, "true" if any("%y" in one for one in formats) else f"year({value}) >= 1000"  # 31/12/24 is not 24

    def form(self, wanted: str) -> str:
        """How a value of a type is written, for a sentence; nothing where that is SQL's own way."""
        if wanted in ("DATE", "TIMESTAMP", "TIMESTAMPTZ"):
            form = self.date_format if wanted == "DATE" else self.timestamp_format
            return f" as {form}" if form else ""
        if self.has_plain_numbers or wanted in ("BOOLEAN", "TIME", "VARCHAR"):
            return ""
        return f" with the decimal mark {self.decimal}" + (f" and thousands {self.thousands!r}" * bool(self.thousands))

    def nulls(self) -> str:
        """SQL: the list of texts that are NULL."""
        return f"[{', '.join(map(_sql, ('', *self.null_texts)))}]"


PLAIN = Dialect()
FIELDS = tuple(field.name for field in fields(Dialect))


def faults(declared: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each fault in a declaration's fields of a dialect."""
    given = {field.name: declared.get(field.name, field.default) for field in fields(Dialect)}
    for name in ("skip_rows", "header_rows"):
        if not isinstance(given[name], int) or isinstance(given[name], bool) or not 0 <= given[name] <= 1000:
            yield f"{name} must be a whole number up to 1000"
    texts = [name for name in FIELDS if name not in ("skip_rows", "header_rows", "null_texts")]
    if wrong := [name for name in texts if not isinstance(given[name], str)]:
        yield from (f"{name} must be a text" for name in wrong)
        return
    for name in ONE_CHARACTER:
        may_lack = name not in ("delimiter", "decimal")
        if len(given[name]) != 1 and not (may_lack and not given[name]):
            yield f"{name} must be one character" + (' or ""' if may_lack else "")
        if name in ("quote", "escape") and not given[name].isascii():
            yield f"{name} must be in ASCII"
    if len(given["comment"].splitlines()) > 1:
        yield "comment must be the beginning of one line"
    if given["decimal"] == given["thousands"]:
        yield f"decimal and thousands are both {given['decimal']!r}"
    for name in ("decimal", "thousands"):
        if given[name] and re.fullmatch(r"[\w+-]", given[name].replace("_", "")):
            yield f"{name} can't be {given[name]!r}"
    if len({given["delimiter"], given["quote"]}) == 1 or given["delimiter"] in ("\n", "\r"):
        yield f"delimiter can't be {given['delimiter']!r}"
    try:
        if not codecs.lookup(given["encoding"])._is_text_encoding:
            raise LookupError
    except (LookupError, ValueError):
        yield f"encoding {given['encoding']} is none: utf-8, utf-16, latin-1, windows-1252, …"
    yield from _faults_of_formats(given)


def _faults_of_formats(given: Mapping[str, str]) -> Iterator[str]:
    for name in ("date_format", "timestamp_format"):
        form = given[name]
        if form and not all(re.search(part, form) for part in ("%-?[Yy]", "%-?[mbB]", "%-?d")):
            yield f"{name} {form!r} is no form of a date: {_NO_DAY}"
    if _TIME_PARTS.search(given["date_format"]):
        yield "date_format has a time of day: that is timestamp_format"
    if "%n" in given["timestamp_format"]:
        yield "timestamp_format has nanoseconds (%n): times are kept to the microsecond"


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
