"""What must be known of a CSV file before DuckDB reads it: its header, its tag row, its line ends."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import islice
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
        records = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 2))
    except UnicodeDecodeError as error:
        raise CsvProblem(f"byte {error.start} is no UTF-8 text") from error
    except csv.Error as error:
        raise CsvProblem(f"the header can't be read: {error}") from error
    names = tuple(name.strip() for name in records[0])
    has_tags = len(records) > 1 and _is_tag_row(records[1])
    return CsvHead(names, 2 if has_tags else 1)


def _is_tag_row(record: list[str]) -> bool:
    filled = [value.strip() for value in record if value.strip()]
    return bool(filled) and all(value.startswith("#") for value in filled)


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
