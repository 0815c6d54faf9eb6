"""What must be known of a CSV file before DuckDB reads it, and be made of it: its text, header, tag row, line ends."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from dlt_sources.landing.dialect import Dialect

CHUNK_BYTES = 1 << 20
MOST_LINE_BYTES = 2_000_000
"""DuckDB's own limit (max_line_size)."""
OTHER_FORMATS = {
    b"%PDF-": "a PDF, not CSV",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook, not CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, not CSV",
    b"\x1f\x8b": "compressed with gzip; wanted is the CSV file itself",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard; wanted is the CSV file itself",
    b"PAR1": "a Parquet file, not CSV",
    b"SQLite format 3": "an SQLite database, not CSV",
    b"<!DOCTYPE": "a web page, not CSV",
    b"<html": "a web page, not CSV",
    b"\xff\xfe": 'UTF-16 text; wanted is UTF-8, or encoding = "utf-16" in the declaration',
    b"\xfe\xff": 'UTF-16 text; wanted is UTF-8, or encoding = "utf-16" in the declaration',
}


class CsvProblem(ValueError):
    """The file is no CSV that can be loaded; the message says why."""


@dataclass(frozen=True)
class CsvHead:
    """The names in the header, and how many records come before the first row of data."""

    names: tuple[str, ...]
    records_before_data: int


def as_plain_text(path: Path, dialect: Dialect) -> Path:
    """The file as UTF-8 without what isn't data: itself, or a copy beside it in which every line has its number."""
    if dialect.is_utf8 and not dialect.skip_rows and not dialect.comment:
        return path
    copy = path.with_name("plain_text.csv")
    with path.open("rb") as file:
        has_mark = file.read(3) == b"\xef\xbb\xbf"
    encoding = "utf-8-sig" if dialect.is_utf8 or has_mark else dialect.encoding
    try:
        with path.open(encoding=encoding, newline="") as text, copy.open("w", encoding="utf-8", newline="") as target:
            _write_data(text, target, dialect)
    except UnicodeError as error:
        with path.open(encoding=encoding, errors="replace", newline="") as text:
            line = next((number for number, line in enumerate(text, start=1) if "\ufffd" in line), 1)
        raise CsvProblem(f"line {line}: it holds bytes that are no text in {encoding.removesuffix('-sig')}") from error
    except csv.Error as error:
        raise CsvProblem(f"it can't be read: {error}") from error
    return copy


def _write_data(text: TextIO, target: TextIO, dialect: Dialect) -> None:
    """Copy lines, with the skipped ones and comments empty: comments between records, not inside a quoted value."""
    is_between = True

    def data() -> Iterator[str]:
        nonlocal is_between
        for number, line in enumerate(text):
            line = line.removeprefix("\ufeff") if number == 0 else line
            is_comment = is_between and dialect.comment and line.startswith(dialect.comment)
            if number < dialect.skip_rows or is_comment:
                target.write(line[len(line.rstrip("\r\n")) :])
                continue
            is_between = False
            target.write(line)
            yield line

    for _ in _records(data(), dialect) if dialect.comment else data():
        is_between = True


def read_head(path: Path, dialect: Dialect, declared: Sequence[str] = ()) -> CsvHead:
    """Read header and tag row (`#country+code,…`: HXL, which DuckDB would drop as a comment).

    Of a file without a header the names are the `declared` ones.
    """
    with path.open("rb") as file:
        start = file.read(CHUNK_BYTES)
    if not start.strip():
        raise CsvProblem("the file is empty")
    _refuse_other_formats(start)
    is_whole = len(start) < CHUNK_BYTES
    if not is_whole and b"\n" not in start and b"\r" not in start:
        raise CsvProblem(f"line 1: no line ends within the first {CHUNK_BYTES >> 20} MB: that is no header")
    try:
        # The last character of the chunk may be cut in two; DuckDB checks the rest of the file.
        text = start.decode("utf-8-sig") if is_whole else start.decode("utf-8-sig", "replace")
        records = _records(io.StringIO(text, newline=""), dialect)
        header: list[list[str]] = []
        blank = 0
        while len(header) < dialect.header_rows:
            record = next(records)
            header += [record] if record else []
            blank += not record
    except UnicodeDecodeError as error:
        line = start.count(b"\n", 0, error.start) + 1
        hint = 'if it is of another encoding, declare it: encoding = "windows-1252"'
        raise CsvProblem(f"line {line}: byte {error.start} of the file is no UTF-8 text; {hint}") from error
    except StopIteration:
        raise CsvProblem(f"it has fewer than the {dialect.header_rows} lines of its header") from None
    except csv.Error as error:
        raise CsvProblem(f"line 1: the header can't be read: {error}") from error
    if not header:
        return CsvHead(tuple(declared), 0)
    names = header_names(header)
    if dialect.comment and len(names) == 1:  # DuckDB takes a line without anything for a row then
        raise CsvProblem("a file of one column can't have comments")
    return CsvHead(names, len(header) + (blank if len(names) == 1 else 0) + _is_tag_row(records))


def header_names(header: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Each column's cells of a header's lines, joined. A cell above several columns stands in the first of them."""
    width = max(map(len, header))
    lines = [[cell.strip() for cell in line] + [""] * (width - len(line)) for line in header]
    for upper, lower in pairwise(lines):
        for index in range(1, width):
            if not upper[index] and lower[index] and lower[index - 1]:
                upper[index] = upper[index - 1]
    return tuple(" ".join(dict.fromkeys(cell for cell in column if cell)) for column in zip(*lines, strict=True))


def _refuse_other_formats(start: bytes) -> None:
    has_nul = b"\0" in start[:4096]
    for beginning, kind in OTHER_FORMATS.items():
        # A column may be called PAR1: what begins as text must go on as none.
        if start.startswith(beginning) and (has_nul or not beginning.isascii() or beginning[:1] in b"%<"):
            raise CsvProblem(f"it is {kind}")
    if has_nul:
        raise CsvProblem("it holds NUL bytes, so it is no text, or UTF-16; wanted is UTF-8")


def _records(lines: Iterable[str], dialect: Dialect) -> Any:
    """Python's own reader; `csv` has no public name for its type."""
    csv.field_size_limit(CHUNK_BYTES * 64)  # of the whole process; Python's own is 128 kB
    escape = None if dialect.escape in ("", dialect.quote) else dialect.escape
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=escape,
        doublequote=escape is None,
    )


def long_line(path: Path) -> str | None:
    """The sentence for the first line that is longer than DuckDB reads, if there is one."""
    number, length = 1, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            for index, part in enumerate(chunk.split(b"\n")):
                if index:
                    number, length = number + 1, 0
                length += len(part)
                if length > MOST_LINE_BYTES:
                    return f"line {number} is longer than {MOST_LINE_BYTES:,} bytes: is a quote missing?"
    return None


def line_of_row(path: Path, dialect: Dialect, row: int) -> int:
    """The line of the file on which its `row`-th row of data begins: rows may hold line breaks, lines may be empty."""
    before = read_head(path, dialect).records_before_data + row - 1
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records = _records(file, dialect)
        for record in records:
            if before == 0:
                return int(records.line_num - sum(value.count("\n") for value in record))
            before -= bool(record)
    return int(records.line_num)  # it has no such row: DuckDB saw other ends of lines


def line_of_other_width(path: Path, dialect: Dialect, width: int) -> int | None:
    """The first line on which a record of more or fewer values begins: DuckDB doesn't count empty lines."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records = _records(file, dialect)
        for record in records:
            if record and len(record) != width:
                return int(records.line_num - sum(value.count("\n") for value in record))
    return None


def _is_tag_row(records: Iterator[list[str]]) -> bool:
    try:
        filled = [value.strip() for value in next(records, []) if value.strip()]
    except csv.Error:  # whatever it is, DuckDB will say so
        return False
    return bool(filled) and all(value.startswith("#") for value in filled)


def has_crlf(path: Path) -> bool:
    """Whether a line ends in CRLF."""
    with path.open("rb") as file:
        before = b""
        while chunk := file.read(CHUNK_BYTES):
            if b"\r\n" in before[-1:] + chunk:
                return True
            before = chunk
    return False


def write_with_one_line_end(path: Path, target: Path, dialect: Dialect) -> None:
    """Copy `path` with every CRLF between records turned into LF; line ends inside quotes stay.

    DuckDB's strict reader refuses mixed line ends. Its strict_mode=false takes them, but then also drops
    surplus values and swallows everything after an unclosed quote: nothing that may be lost silently.
    """
    mark, escape = dialect.quote.encode(), (dialect.escape or dialect.quote).encode()
    escaped = [re.escape(escape) + b"."] if escape != mark else []
    tokens = re.compile(b"|".join([*escaped, *([re.escape(mark)] if mark else []), b"\r\n"]), re.DOTALL)
    quoted = False

    def token(found: re.Match[bytes]) -> bytes:
        nonlocal quoted
        quoted = quoted != (found[0] == mark)
        return b"\n" if found[0] == b"\r\n" and not quoted else found[0]

    with path.open("rb") as source, target.open("wb") as copy:
        while chunk := source.read(CHUNK_BYTES):
            while chunk[-1:] in (b"\r", escape) and (more := source.read(1)):
                chunk += more
            copy.write(tokens.sub(token, chunk))
