"""What must be known of a CSV file before DuckDB reads it: its header, its tag row, its line ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

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
    b"\xff\xfe": "UTF-16 text; wanted is UTF-8",
    b"\xfe\xff": "UTF-16 text; wanted is UTF-8",
}


class CsvProblem(ValueError):
    """The file is no CSV that can be loaded; the message says why."""


@dataclass(frozen=True)
class CsvHead:
    """The names in the header, and how many records come before the first row of data."""

    names: tuple[str, ...]
    records_before_data: int


def read_head(path: Path, delimiter: str) -> CsvHead:
    """Read header and tag row (`#country+code,…`: HXL, which DuckDB would drop as a comment)."""
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
        records = _records(io.StringIO(text, newline=""), delimiter)
        names = tuple(name.strip() for name in next(records))
    except UnicodeDecodeError as error:
        line = start.count(b"\n", 0, error.start) + 1
        raise CsvProblem(f"line {line}: byte {error.start} of the file is no UTF-8 text") from error
    except csv.Error as error:
        raise CsvProblem(f"line 1: the header can't be read: {error}") from error
    return CsvHead(names, 2 if _is_tag_row(records) else 1)


def _refuse_other_formats(start: bytes) -> None:
    has_nul = b"\0" in start[:4096]
    for beginning, kind in OTHER_FORMATS.items():
        # A column may be called PAR1: what begins as text must go on as none.
        if start.startswith(beginning) and (has_nul or not beginning.isascii() or beginning[:1] in b"%<"):
            raise CsvProblem(f"it is {kind}")
    if has_nul:
        raise CsvProblem("it holds NUL bytes, so it is no text, or UTF-16; wanted is UTF-8")


def _records(file: TextIO, delimiter: str) -> Any:
    """Python's own reader; `csv` has no public name for its type."""
    csv.field_size_limit(CHUNK_BYTES * 64)  # of the whole process; Python's own is 128 kB
    return csv.reader(file, delimiter=delimiter)


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


def line_of_row(path: Path, delimiter: str, row: int) -> int:
    """The line of the file on which its `row`-th row of data begins: rows may hold line breaks, lines may be empty."""
    before = read_head(path, delimiter).records_before_data + row - 1
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records = _records(file, delimiter)
        for record in records:
            if before == 0:
                return int(records.line_num - sum(value.count("\n") for value in record))
            before -= bool(record)
    return int(records.line_num)  # it has no such row: DuckDB saw other ends of lines


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


def write_with_one_line_end(path: Path, target: Path) -> None:
    """Copy `path` with every CRLF between records turned into LF; line ends inside quotes stay.

    DuckDB's strict reader refuses mixed line ends. Its strict_mode=false takes them, but then also drops
    surplus values and swallows everything after an unclosed quote: nothing that may be lost silently.
    """
    quoted = False
    with path.open("rb") as source, target.open("wb") as copy:
        while chunk := source.read(CHUNK_BYTES):
            if chunk.endswith(b"\r"):
                chunk += source.read(1)
            parts = chunk.split(b'"')
            for index, part in enumerate(parts):
                if not quoted:
                    parts[index] = part.replace(b"\r\n", b"\n")
                quoted = quoted != (index < len(parts) - 1)
            copy.write(b'"'.join(parts))
