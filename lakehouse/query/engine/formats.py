"""The formats of an answer. Each writes in pieces, and says how many rows it wrote and whether it was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from lakehouse.query.engine.values import BINARY_CASTS, TEXT_CASTS, for_json, text_of

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Send = Callable[[Sequence[bytes | memoryview]], None]
"""Takes the next piece of the answer, in parts."""

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"

BATCH_ROWS = 2_000
ARROW_ROWS = 122_880
PIECE_BYTES = 1 << 20
TAIL_BYTES = 200
"""What ends a JSON answer, beside what goes with it."""
FRAME_BYTES = 1_000
"""What a batch takes beside its values, and for each of its columns again."""


@dataclass
class Written:
    """What became of an answer."""

    rows: int = 0
    size_bytes: int = 0
    cut: str = ""
    """`rows` or `bytes`, whichever limit cut it; empty when it is whole."""

    def leave_out(self) -> None:
        """The row that was counted last has no room."""
        self.rows, self.cut = self.rows - 1, "bytes"


@dataclass(frozen=True)
class Answer:
    """A statement's result on its way out."""

    connection: DuckDBPyConnection
    columns: Sequence[tuple[str, str]]
    """Names and DuckDB types, as asked for."""
    max_rows: int
    max_bytes: int
    """Of the answer as it is sent. A row that would pass it is left out, however large the first one is."""
    about: dict[str, Any] = field(default_factory=dict)
    """What goes with a JSON answer: release and the like."""


class Format(Protocol):
    """Writes an answer."""

    casts: Mapping[str, str]
    tells_cut: bool
    """Whether a cut answer says so in itself."""

    def write(self, answer: Answer, send: Send, execution_ms: Callable[[], float]) -> Written:
        """Send the whole answer."""
        ...


class JsonFormat:
    """`{"columns": […], "rows": [[…], …], "row_count": …, "cut": …}`: rows are arrays, for names may repeat."""

    casts = TEXT_CASTS
    tells_cut = True

    def write(self, answer: Answer, send: Send, execution_ms: Callable[[], float]) -> Written:
        """Send the whole answer."""
        columns = [{"name": name, "type": kind} for name, kind in answer.columns]
        piece = bytearray(b'{"columns":' + orjson.dumps(columns) + b',"rows":[')
        written = Written()
        most = answer.max_bytes - len(orjson.dumps(answer.about)) - TAIL_BYTES
        for row in _rows(answer, written):
            line = orjson.dumps([for_json(value) for value in row])
            if written.size_bytes + len(piece) + len(line) > most:
                written.leave_out()
                break
            piece += b"\n" if written.rows == 1 else b",\n"
            piece += line
            if len(piece) >= PIECE_BYTES:
                written.size_bytes += len(piece)
                send([bytes(piece)])
                piece.clear()
        tail = {
            "row_count": written.rows, "cut": written.cut or None, **answer.about,
            "execution_ms": round(execution_ms(), 3),
        }  # fmt: skip
        piece += b"],\n" + orjson.dumps(tail)[1:] + b"\n"
        send([bytes(piece)])
        return written


class CsvFormat:
    """A line of names, then the rows, as RFC 4180 has it. NULL is an empty field, an empty text is quoted."""

    casts = TEXT_CASTS
    tells_cut = False

    def write(self, answer: Answer, send: Send, execution_ms: Callable[[], float]) -> Written:
        """Send the whole answer."""
        written = Written()
        piece = bytearray(_csv_line([name for name, _ in answer.columns]).encode())
        for row in _rows(answer, written):
            line = _csv_line(row).encode()
            if written.size_bytes + len(piece) + len(line) > answer.max_bytes:
                written.leave_out()
                break
            piece += line
            if len(piece) >= PIECE_BYTES:
                written.size_bytes += len(piece)
                send([bytes(piece)])
                piece.clear()
        send([bytes(piece)])
        return written


def _csv_line(row: Sequence[Any]) -> str:
    return ",".join(map(_csv_field, row)) + "\r\n"


def _csv_field(value: Any) -> str:
    # Python's writer can't tell NULL from an empty text before 3.12.
    if value is None:
        return ""
    if isinstance(value, (dict, list, tuple)):
        value = orjson.dumps(for_json(value)).decode()
    text = value if isinstance(value, str) else text_of(value)
    if text and not any(mark in text for mark in '",\r\n') and text == text.strip():
        return text
    return '"' + text.replace('"', '""') + '"'


def _rows(answer: Answer, written: Written) -> Iterator[tuple[Any, ...]]:
    """The rows up to the limit; counts them, and notes when there were more."""
    while batch := answer.connection.fetchmany(BATCH_ROWS):
        for row in batch:
            if written.rows >= answer.max_rows:
                written.cut = "rows"
                return
            written.rows += 1
            yield row


class _Pieces:
    """A file that gathers what pyarrow writes, without joining it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.closed = False

    def write(self, part: Any) -> int:
        content = bytes(part)
        self.parts.append(content)
        self.size += len(content)
        return len(content)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def take(self) -> list[bytes]:
        parts, self.parts = self.parts, []
        return parts


class _BatchWriter(Protocol):
    def write_batch(self, batch: pa.RecordBatch) -> None: ...


def _write_batches(
    writer: _BatchWriter, reader: pa.RecordBatchReader, schema: pa.Schema, pieces: _Pieces, answer: Answer, send: Send
) -> Written:
    """The rows up to the limits, sent batch by batch."""
    import pyarrow as pa

    written = Written()
    for batch in reader:
        left = answer.max_rows - written.rows
        if batch.num_rows > left:
            batch, written.cut = batch.slice(0, left), "rows"
        while batch.num_rows:
            part = _fitting(batch, answer.max_bytes, answer.max_bytes - pieces.size)
            if not part.num_rows:
                written.cut = "bytes"
                break
            writer.write_batch(pa.RecordBatch.from_arrays(part.columns, schema=schema))
            send(pieces.take())
            written.rows += part.num_rows
            batch = batch.slice(part.num_rows)
        if written.cut:
            break
    return written


def _fitting(batch: pa.RecordBatch, max_bytes: int, room: int) -> pa.RecordBatch:
    """As many of its first rows as surely fit: compressed they may take less, and more have room after them."""
    room -= FRAME_BYTES * (1 + batch.num_columns)
    while batch.num_rows and batch.nbytes > room:
        if room < max_bytes >> 6:
            return batch.slice(0, 0)
        batch = batch.slice(0, min(batch.num_rows - 1, max(1, batch.num_rows // 2)))
    return batch


class ArrowFormat:
    """An Arrow IPC stream. A cut one says so in the metadata of an empty last batch (`lakehouse.cut`)."""

    casts = BINARY_CASTS
    tells_cut = True

    def write(self, answer: Answer, send: Send, execution_ms: Callable[[], float]) -> Written:
        """Send the whole answer."""
        import pyarrow as pa

        pieces = _Pieces()
        reader = answer.connection.to_arrow_reader(ARROW_ROWS)
        schema = _named(reader.schema, answer)
        with pa.ipc.new_stream(pieces, schema) as stream:
            written = _write_batches(stream, reader, schema, pieces, answer, send)
            if written.cut:
                nothing = pa.RecordBatch.from_pylist([], schema=schema)
                stream.write_batch(nothing, custom_metadata={"lakehouse.cut": written.cut})
        send(pieces.take())
        written.size_bytes = pieces.size
        return written


class ParquetFormat:
    """One Parquet file, Zstandard inside. A cut one says so in its key-value metadata (`lakehouse.cut`)."""

    casts = BINARY_CASTS
    tells_cut = True

    def write(self, answer: Answer, send: Send, execution_ms: Callable[[], float]) -> Written:
        """Send the whole answer."""
        import pyarrow.parquet as pq

        pieces = _Pieces()
        reader = answer.connection.to_arrow_reader(ARROW_ROWS)
        # A Parquet file's columns have one name each.
        schema = _named(reader.schema, answer, unique=True)
        with pq.ParquetWriter(pieces, schema, compression="zstd") as writer:
            written = _write_batches(writer, reader, schema, pieces, answer, send)
            if written.cut:
                writer.add_key_value_metadata({"lakehouse.cut": written.cut})
        send(pieces.take())
        written.size_bytes = pieces.size
        return written


def _named(schema: pa.Schema, answer: Answer, *, unique: bool = False) -> pa.Schema:
    """The schema with the names that were asked for, which the casts have lost, and DuckDB's types as metadata."""
    import pyarrow as pa

    names = [name for name, _ in answer.columns]
    if unique:
        names = unique_names(names)
    return pa.schema(
        pa.field(name, field.type, metadata={"duckdb.type": kind})
        for name, field, (_, kind) in zip(names, schema, answer.columns, strict=True)
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Names with `_1`, `_2` … behind those that stood before, as DuckDB makes them."""
    taken: set[str] = set()
    found = []
    for name in names:
        wanted, number = name, 0
        while wanted.lower() in taken or (number and wanted in names):
            number += 1
            wanted = f"{name}_{number}"
        taken.add(wanted.lower())
        found.append(wanted)
    return found


FORMATS: dict[str, Format] = {
    JSON: JsonFormat(),
    CSV: CsvFormat(),
    ARROW: ArrowFormat(),
    PARQUET: ParquetFormat(),
}
"""By media type; the first is the default."""
