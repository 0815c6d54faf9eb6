"""What must be known of a CSV file before DuckDB reads it: its header, its tag row, its line ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20


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
    if b"\0" in start[:4096]:
        raise CsvProblem("the file holds NUL bytes: it is no text")
    try:
        # The last character of the chunk may be cut in two; DuckDB checks the rest of the file.
        text = start.decode("utf-8-sig") if len(start) < CHUNK_BYTES else start.decode("utf-8-sig", "replace")
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        names = tuple(name.strip() for name in next(records))
    except UnicodeDecodeError as error:
        raise CsvProblem(f"byte {error.start} is no UTF-8 text") from error
    except csv.Error as error:
        raise CsvProblem(f"the header can't be read: {error}") from error
    return CsvHead(names, 2 if _is_tag_row(records) else 1)


def line_of_row(path: Path, delimiter: str, row: int) -> int:
    """The line of the file on which its `row`-th row of data begins: rows may hold line breaks, lines may be empty."""
    before = read_head(path, delimiter).records_before_data + row - 1
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records = csv.reader(file, delimiter=delimiter)
        for record in records:
            if before == 0:
                return records.line_num - sum(value.count("\n") for value in record)
            before -= bool(record)
    return records.line_num


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
