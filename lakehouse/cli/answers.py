"""An answer for people and for programs: what `lakehouse query` shows and writes."""

from __future__ import annotations

import codecs
import errno
import io
import json
import math
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lakehouse.cli.console import printable
from lakehouse.cli.tables import rich_table
from lakehouse.errors import LakehouseError
from lakehouse.query.client.result import CUT, About, read_arrow
from lakehouse.query.engine.formats import ARROW, CSV, FORMATS, JSON, PARQUET, Answer, unique_names
from lakehouse.query.engine.parsing import single
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.values import columns_of, selecting
from lakehouse.wording import plural

UNBOUND = 1_000_000
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


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
        decimals = [place for place, kind in enumerate(types) if kind.startswith("DECIMAL") and kind.endswith(")")]
        for row in found["rows"]:
            for place in decimals:
                if row[place] is not None:
                    row[place] = Decimal(row[place])
        names = [column["name"] for column in found["columns"]]
        return cls(names, types, found["rows"], found["cut"] or "", found["execution_ms"])


class OutputError(LakehouseError):
    """Nothing may be written there; the message says why."""

    exit_code = 2


@dataclass(frozen=True)
class Output:
    """Where an answer goes: a new file, with `force` one that is there, without a path standard output."""

    path: Path | None = None
    force: bool = False

    def check(self) -> None:
        """Raises OutputError when what is there is not to be replaced."""
        path = self.path
        try:
            mode = path.lstat().st_mode if path else None
        except FileNotFoundError:
            if path and not path.parent.is_dir():
                raise OutputError(f"There is no folder {path.parent}.") from None
            return
        except OSError as error:
            raise OutputError(f"{path} can't be written: {error.strerror}.") from None
        if mode is not None and not stat.S_ISREG(mode):
            kind = "link" if stat.S_ISLNK(mode) else "folder" if stat.S_ISDIR(mode) else "device or pipe"
            raise OutputError(f"{path} is a {kind}: answers are written to files only. Without -o they go to a pipe.")
        if mode is not None and not self.force:
            raise OutputError(f"{path} is there already: --force replaces it.")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """A file is there only once it is whole; a terminal gets nothing that it would act on."""
        if self.path is None:
            to = sys.stdout.buffer
            yield _Escaping(to) if sys.stdout.isatty() else to
            to.flush()
            return
        self.check()
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name[:100]}.", suffix=".part", dir=self.path.parent)
        aside = Path(name)
        try:
            with open(descriptor, "wb") as file:
                yield file
            umask = os.umask(0)
            os.umask(umask)
            aside.chmod(0o666 & ~umask)
            self._put(aside)
        finally:
            aside.unlink(missing_ok=True)

    def _put(self, aside: Path) -> None:
        assert self.path
        self.check()
        if not self.force:
            # A link is made only where nothing is, whoever was faster.
            with suppress(NotImplementedError, PermissionError):
                try:
                    os.link(aside, self.path)
                except FileExistsError:
                    raise OutputError(f"{self.path} has come to be meanwhile: --force replaces it.") from None
                except OSError as error:
                    if error.errno not in NO_LINKS:
                        raise
                else:
                    return
        aside.replace(self.path)


class _Escaping(io.BytesIO):
    """Text on its way to a terminal."""

    def __init__(self, to: BinaryIO):
        super().__init__()
        self._to = to
        # A character, or the end of a line, may lie in two pieces.
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)

    def write(self, content: Any) -> int:
        self._to.write(printable(self._decoder.decode(bytes(content))).encode())
        return len(content)


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
    keys = [json.dumps(name, ensure_ascii=False) for name in names]
    to.write(b"[")
    for number, row in enumerate(answer.rows):
        record = ", ".join(f"{key}: {_json(value)}" for key, value in zip(keys, row, strict=True))
        to.write(f"{',' if number else ''}\n{{{record}}}".encode())
    to.write(b"\n]\n" if answer.rows else b"]\n")


def _json(value: Any) -> str:
    # A number of JSON may have any digits; Python's writer knows only those of a float.
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def head_answer(connection: duckdb.DuckDBPyConnection, sql: str, form: Format, max_rows: int, to: BinaryIO) -> Rows:
    """An answer of the lake's head as the service would write it; written, unless it is a table. Gives JSON's rows."""
    relation = connection.sql(sql)
    found = columns_of(relation) if relation is not None else []
    connection.execute(selecting(single(sql), found, FORMATS[form.media_type].casts))
    pieces: list[bytes | memoryview] = []
    answer = Answer(connection, [(name, str(kind)) for name, kind in found], max_rows, 1 << 62)
    FORMATS[form.media_type].write(answer, to.writelines if form is Format.csv else pieces.extend, lambda: 0.0)
    rows = Rows.read(b"".join(pieces)) if pieces else Rows([], [], [], "", 0.0)
    if form is Format.json:
        write_records(rows, to)
    return rows


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
    console.print(Text(printable(" · ".join(words)), "dim"), highlight=False, soft_wrap=True)


def _show_blocks(answer: Rows, console: Console) -> None:
    """A line a value, for rows that are too wide."""
    for number, row in enumerate(answer.rows, 1):
        block = Table("column", "value", show_header=False, title=f"row {number:,}", title_justify="left")
        block.columns[0].overflow = block.columns[1].overflow = "fold"
        for name, value in zip(answer.names, _shown(answer, row), strict=True):
            block.add_row(Text(printable(name)), value)
        console.print(block)
    if not answer.rows:
        console.print(Text(printable(", ".join(answer.names))), highlight=False)


def _shown(answer: Rows, row: Sequence[Any]) -> list[Any]:
    """The row's values as a table of one row shows them."""
    table = rich_table(answer.names, answer.types, [row])
    return [next(iter(column.cells)) for column in table.columns]
