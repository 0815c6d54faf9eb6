"""What DuckDB does not look at in a Parquet file: whether its parts agree, its pages' checksums, where it is broken."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb

from dlt_sources.landing.column_types import literal, quote

MOST_PROBES = 100


class ParquetProblem(ValueError):
    """The file contradicts itself; the message says where."""


@dataclass(frozen=True)
class _Chunk:
    """One column of one row group: where its pages lie."""

    row_group: int
    column: str
    offset: int
    size: int

    @property
    def place(self) -> str:
        return f"row group {self.row_group}, column {self.column[:80]}"


def top_level_names(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[list[str], set[str]]:
    """The columns' names as the file has them, repeated ones too, and those that are not nested."""
    rows = connection.execute(
        f"SELECT name, coalesce(num_children, 0), repetition_type FROM parquet_schema({literal(str(path))})"
    ).fetchall()
    names, flat, below = [], set(), 0
    for name, children, repetition in rows[1:]:  # the first is the file's root
        if below == 0:
            names.append(name)
            if children == 0 and repetition != "REPEATED":
                flat.add(name)
        else:
            below -= 1
        below += children
    return names, flat


def check(connection: duckdb.DuckDBPyConnection, path: Path, flat: set[str]) -> int:
    """How many rows the file says it has. Raises ParquetProblem when its parts say something else, or a page is broken.

    A writer may leave the pages' checksums out: then nothing protects the values.
    """
    source = literal(str(path))
    (total,) = connection.execute(f"SELECT num_rows FROM parquet_file_metadata({source})").fetchone() or (0,)
    rows = connection.execute(
        "SELECT row_group_id, row_group_num_rows, path_in_schema, num_values, total_compressed_size,"
        f" dictionary_page_offset, data_page_offset FROM parquet_metadata({source})"
    ).fetchall()
    in_groups = {group: count for group, count, *_ in rows}
    if sum(in_groups.values()) != total:
        raise ParquetProblem(f"its footer counts {total} rows, its row groups {sum(in_groups.values())}")
    chunks = []
    for group, count, column, values, size, dictionary, data in rows:
        offset = min(place for place in (dictionary, data) if place) if dictionary or data else 0
        chunk = _Chunk(group, column, offset, size or 0)
        if column in flat and values != count:
            raise ParquetProblem(f"{chunk.place}: {values} values in {count} rows")
        chunks.append(chunk)
    _refuse_overlap(chunks)
    _check_pages(path, chunks)
    return int(total)


def _refuse_overlap(chunks: list[_Chunk]) -> None:
    """Two columns can't lie in the same place: one of the footer's addresses is wrong."""
    ordered = sorted((chunk for chunk in chunks if chunk.size), key=lambda chunk: chunk.offset)
    for before, chunk in pairwise(ordered):
        if chunk.offset < before.offset + before.size:
            raise ParquetProblem(f"{chunk.place} lies where {before.place} does")


def _check_pages(path: Path, chunks: list[_Chunk]) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for chunk in chunks:
            for number, (start, end, expected) in enumerate(_pages(content, chunk)):
                if expected is None:
                    break  # who wrote this column wrote no checksums
                with memoryview(content) as view, view[start:end] as page:
                    if zlib.crc32(page) != expected:
                        raise ParquetProblem(f"{chunk.place}, page {number}: its checksum is wrong")


def _pages(content: mmap.mmap, chunk: _Chunk) -> Iterator[tuple[int, int, int | None]]:
    """Where each page's body begins and ends, and its CRC-32. Ends where a header makes no sense: DuckDB says so."""
    place = chunk.offset
    while chunk.offset <= place < min(chunk.offset + chunk.size, len(content)):
        try:
            header, body = _header(content, place)
        except (IndexError, ValueError):
            return
        size = header.get(3, -1)
        if size < 0 or body + size > len(content):
            return
        yield body, body + size, header[4] & 0xFFFFFFFF if 4 in header else None
        place = body + size


def _header(content: mmap.mmap, place: int) -> tuple[dict[int, int], int]:
    """A page header's integers by field, and where it ends: a struct of Thrift's compact protocol.

    3 is the size of the page as it lies there, 4 its CRC-32 (parquet.thrift, PageHeader).
    """
    reader = _Thrift(content, place)
    return reader.struct(), reader.place


class _Thrift:
    def __init__(self, content: mmap.mmap, place: int) -> None:
        self.content, self.place = content, place

    def struct(self, depth: int = 0) -> dict[int, int]:
        if depth > 8:
            raise ValueError("nested too deeply")
        found: dict[int, int] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            value = self._value(head & 15, depth)
            if value is not None:
                found[field] = value
        return found

    def _value(self, kind: int, depth: int, *, inside: bool = False) -> int | None:
        if kind in (1, 2):  # a boolean: in its field's head, or a byte of its own
            return self._byte() if inside else kind
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 12:
            self.struct(depth + 1)
        elif kind in (9, 10):
            head = self._byte()
            for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
                self._value(head & 15, depth + 1, inside=True)
        elif kind in (3, 7, 8):
            size = {3: 1, 7: 8}.get(kind) or self._varint()  # which moves the place, too
            self.place += size
        else:
            raise ValueError(f"no type {kind}")
        return None

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number without an end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def broken_place(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Which column, and which row group, can't be read; empty when that can't be told."""
    try:
        return _broken_place(connection, path)
    except duckdb.Error:
        return ""


def _broken_place(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    source = f"read_parquet({literal(str(path))}, file_row_number = true)"
    names = [name for name, *_ in connection.execute(f"DESCRIBE FROM {source}").fetchall()[:-1]]
    groups = connection.execute(
        "SELECT DISTINCT row_group_id, row_group_num_rows"
        f" FROM parquet_metadata({literal(str(path))}) ORDER BY 1 LIMIT {MOST_PROBES}"
    ).fetchall()
    column = next((name for name in names[:MOST_PROBES] if not _is_readable(connection, name, source)), None)
    if column is None:
        return ""
    first, broken = 0, []
    for group, count in groups:
        if not _is_readable(
            connection, column, f"{source} WHERE file_row_number BETWEEN {first} AND {first + count - 1}"
        ):
            broken.append(group)
        first += count
    in_group = f"row group {broken[0]}, " if broken and (len(broken) < len(groups) or len(groups) == 1) else ""
    return f"{in_group}column {column[:80]}"


def _is_readable(connection: duckdb.DuckDBPyConnection, column: str, source: str) -> bool:
    try:
        connection.execute(f"SELECT bit_xor(hash({quote(column)})) FROM {source}").fetchall()
    except (duckdb.InternalException, duckdb.FatalException):
        raise  # this DuckDB answers nothing any more
    except duckdb.Error:
        return False
    return True
