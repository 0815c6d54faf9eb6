"""An answer for people and for programs: what `lakehouse query` shows and writes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from rich.console import Console
from rich.table import Table

from lakehouse.query.formats import ARROW, CSV, JSON, PARQUET, unique_names
from lakehouse.query.problems import QueryError
from lakehouse.query.result import CUT, About, read_arrow
from lakehouse.tables import plain, rich_table

UNBOUND = 1_000_000


class Format(StrEnum):
    """How `lakehouse query` answers."""

    table = "table"
    json = "json"
    csv = "csv"
    arrow = "arrow"
    parquet = "parquet"

    @property
    def media_type(self) -> str:
        """What the service is asked for."""
        return {"csv": CSV, "arrow": ARROW, "parquet": PARQUET}.get(self.value, JSON)

    @property
    def is_binary(self) -> bool:
        """Whether a terminal can't show it."""
        return self in (Format.arrow, Format.parquet)


@dataclass(frozen=True)
class Rows:
    """A JSON answer, read."""

    names: list[str]
    types: list[str]
    rows: list[list[Any]]
    cut: str
    execution_ms: float

    @classmethod
    def read(cls, content: bytes) -> Rows:
        """What the service wrote."""
        found = orjson.loads(content)
        types = [column["type"] for column in found["columns"]]
        decimals = [place for place, kind in enumerate(types) if kind.startswith("DECIMAL")]
        for row in found["rows"]:
            for place in decimals:
                if row[place] is not None:
                    row[place] = Decimal(row[place])
        names = [column["name"] for column in found["columns"]]
        return cls(names, types, found["rows"], found["cut"] or "", found["execution_ms"])


@contextmanager
def opened(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there only once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    aside = output.with_name(f".{output.name}.part")
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)


def write_pieces(pieces: Iterable[bytes], to: BinaryIO) -> None:
    """As they come."""
    for piece in pieces:
        to.write(piece)


def cut_of(content: bytes, media_type: str) -> tuple[int, str]:
    """The rows of a binary answer, and which limit cut it: a long one says so only in itself."""
    if media_type == ARROW:
        table, cut = read_arrow(content)
        return table.num_rows, cut
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(pa.BufferReader(content))
    except (pa.ArrowException, OSError):
        raise QueryError("unavailable", "The answer can't be read: it broke off or is no Parquet file.") from None
    return found.num_rows, (found.metadata or {}).get(CUT, b"").decode()


def write_records(answer: Rows, to: BinaryIO) -> None:
    """An array of records, a record a line. A name that stood before has `_1` behind it."""
    names = unique_names(answer.names)
    lines = (
        json.dumps(dict(zip(names, row, strict=True)), default=plain, ensure_ascii=False) for row in answer.rows
    )  # fmt: skip
    to.write(b"[")
    for number, line in enumerate(lines):
        to.write((",\n" if number else "\n").encode() + line.encode())
    to.write(b"\n]\n" if answer.rows else b"]\n")


def show(answer: Rows, about: About, round_trip_ms: float, console: Console) -> None:
    """Rows, and under them where they came from and what they took."""
    table = rich_table(answer.names, answer.types, answer.rows)
    # Measured without the terminal's own width, within which everything fits in the end, a letter a line.
    if console.measure(table, options=console.options.update_width(UNBOUND)).minimum > console.width:
        _show_blocks(answer, console)
    else:
        console.print(table)
    count = len(answer.rows)
    words = [f"the first {count:,} rows; --limit shows more" if about.cut else plural(count, "row")]
    took = "" if math.isnan(about.execution_ms) else f"execution {about.execution_ms:,.0f} ms, "
    words.append(f"{took}round trip {round_trip_ms:,.0f} ms")
    words.append("cached" if about.cached else "warm" if about.warm else "cold")
    words.append(f"release {about.release} of {about.environment}" + (f", {about.held}" if about.held else ""))
    console.print(f"[dim]{' · '.join(words)}[/dim]", highlight=False, soft_wrap=True)


def _show_blocks(answer: Rows, console: Console) -> None:
    """A line a value, for rows that are too wide."""
    for number, row in enumerate(answer.rows, 1):
        block = Table("column", "value", show_header=False, title=f"row {number:,}", title_justify="left")
        block.columns[0].overflow = block.columns[1].overflow = "fold"
        for name, value in zip(answer.names, _shown(answer, row), strict=True):
            block.add_row(name.replace("[", "\\["), value)
        console.print(block)
    if not answer.rows:
        console.print(", ".join(answer.names), markup=False, highlight=False)


def _shown(answer: Rows, row: Sequence[Any]) -> list[Any]:
    """The row's values as a table of one row shows them."""
    table = rich_table(answer.names, answer.types, [row])
    return [next(iter(column.cells)) for column in table.columns]


def plural(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
