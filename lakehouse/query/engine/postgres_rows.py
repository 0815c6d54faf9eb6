"""Rows as PostgreSQL's protocol has them, made a batch at a time: `DataRow` messages, or those of COPY … TO STDOUT."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lakehouse.query.engine.formats import Answer, Send, Written
from lakehouse.query.engine.postgres_types import PgType, pg_type

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH_ROWS = 16_384
PREFIX = "postgres:"
DESCRIBED = "description"
"""The format of no rows: what a statement's columns and its places for values are."""
PLAIN = frozenset({"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "date", "time", "timestamp", "uuid"})
"""Types whose texts hold nothing that a COPY escapes."""
DAYS_1970 = 10_957
MICROSECONDS_1970 = 946_684_800_000_000
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


@dataclass(frozen=True)
class PgRows:
    """How rows go out; its `name` is a format's, which a call carries."""

    formats: str = ""
    """0 (text) or 1 (binary) for each column; one for all; empty for text."""
    copy: str = ""
    """`text`, `csv` or `binary` of COPY; empty for DataRow messages."""
    delimiter: str = "\t"
    null: str = "\\N"
    header: bool = False

    tells_cut = True

    @property
    def name(self) -> str:
        """What a question names as its format."""
        return PREFIX + json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def named(cls, name: str) -> PgRows:
        """The format of this name."""
        return cls(**json.loads(name.removeprefix(PREFIX)))

    def is_binary(self, column: int) -> bool:
        """Whether this column goes out in binary."""
        if self.copy:
            return self.copy == "binary"
        return (self.formats[column] if len(self.formats) > 1 else self.formats or "0") == "1"

    def sent(self, sql: str, columns: Sequence[tuple[str, Any]]) -> str:
        """The statement with every column as it goes out."""
        chosen = []
        for number, (_, kind) in enumerate(columns):
            one = pg_type(str(kind))
            sending = one.binary if self.is_binary(number) and one.binary else one.text
            chosen.append(f"{sending.format(f'c{number}')} AS c{number}")
        names = ", ".join(f"c{number}" for number in range(len(columns)))
        return f"SELECT {', '.join(chosen)} FROM (\n{sql}\n) AS answer({names})"

    def write(self, answer: Answer, send: Send, execution_ms: Callable[[], float]) -> Written:
        """Send the whole answer."""
        import numpy as np

        written = Written()
        types = [pg_type(kind) for _, kind in answer.columns]
        if self.copy == "binary":
            send([_message(b"d", COPY_HEADER)])
        elif self.header:
            line = self.delimiter.join(_quoted(name, self.delimiter) for name, _ in answer.columns)
            send([_message(b"d", line.encode() + b"\n")])
        for batch in answer.connection.to_arrow_reader(BATCH_ROWS):
            left = answer.max_rows - written.rows
            if batch.num_rows > left:
                batch, written.cut = batch.slice(0, left), "rows"
            if batch.num_rows:
                rows = self._lines(batch, types) if self.copy in ("text", "csv") else self._messages(batch, types)
                ends = np.frombuffer(rows.buffers()[1], "<i4", len(rows) + 1, rows.offset * 4)
                fits = int(np.searchsorted(ends[1:] - ends[0], answer.max_bytes - written.size_bytes, "right"))
                if fits < len(rows):
                    written.cut = "bytes"
                size = int(ends[fits] - ends[0])
                if size:
                    send([memoryview(rows.buffers()[2])[ends[0] : ends[fits]]])
                written.rows, written.size_bytes = written.rows + fits, written.size_bytes + size
            if written.cut:
                break
        if self.copy == "binary":
            send([_message(b"d", b"\xff\xff")])
        return written

    def _messages(self, batch: pa.RecordBatch, types: Sequence[PgType]) -> pa.BinaryArray:
        """A DataRow for each row; of a COPY the same fields in a CopyData."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        parts: list[Any] = []
        sizes = np.full(batch.num_rows, 6, "<i4")
        for number, column in enumerate(batch.columns):
            if self.is_binary(number):
                column = _binary(column, types[number])
            column = column.cast(pa.binary())
            lengths = pc.fill_null(pc.binary_length(column), -1).to_numpy(zero_copy_only=False).astype("<i4")
            sizes += 4 + np.maximum(lengths, 0)
            parts += [_fixed(lengths.astype(">i4")), pc.fill_null(column, b"")]
        head = np.zeros(batch.num_rows, [("kind", "S1"), ("size", ">i4"), ("columns", ">i2")])
        head["kind"], head["size"], head["columns"] = b"d" if self.copy else b"D", sizes, batch.num_columns
        return pc.binary_join_element_wise(_fixed(head), *parts, b"")

    def _lines(self, batch: pa.RecordBatch, types: Sequence[PgType]) -> pa.BinaryArray:
        """A CopyData with a line of text for each row."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        escaped = _copy_csv if self.copy == "csv" else _copy_text
        # Of these no number and no time is written with one.
        is_plain = self.delimiter in "\t,;|"
        fields = [
            pc.fill_null(column if is_plain and kind.name in PLAIN else escaped(column, self.delimiter), self.null)
            for column, kind in zip(batch.columns, types, strict=True)
        ]
        ends = pa.array([""] * batch.num_rows)
        lines = pc.binary_join_element_wise(*fields, self.delimiter)
        lines = pc.binary_join_element_wise(lines, ends, "\n").cast(pa.binary())
        head = np.zeros(batch.num_rows, [("kind", "S1"), ("size", ">i4")])
        head["kind"], head["size"] = b"d", pc.binary_length(lines).to_numpy() + 4
        return pc.binary_join_element_wise(_fixed(head), lines, b"")


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


def _fixed(values: np.ndarray[Any, Any]) -> pa.BinaryArray:
    """The bytes of each element."""
    import numpy as np
    import pyarrow as pa

    width = values.dtype.itemsize
    ends = np.arange(len(values) + 1, dtype=np.int32) * np.int32(width)
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(values.tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def _binary(column: pa.Array, kind: PgType) -> pa.Array:
    """A column in PostgreSQL's binary format."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind.name == "numeric":
        return pa.array([None if one is None else numeric(one) for one in column.to_pylist()], pa.binary())
    if not kind.width:
        return column
    dtypes = {"bool": "u1", "float4": "<f4", "float8": "<f8", "date": "<i4"}
    dtype: Any = dtypes.get(kind.name, f"<i{kind.width}")
    if kind.name == "interval":
        dtype = [("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")]
    raw = np.frombuffer(column.buffers()[1], dtype, len(column) + column.offset)[column.offset :]
    if kind.name == "date":
        raw = _moved(raw, DAYS_1970, np.int32)
    elif kind.name in ("timestamp", "timestamptz"):
        raw = _moved(raw, MICROSECONDS_1970, np.int64)
    if kind.name == "interval":
        found = np.zeros(len(raw), [("microseconds", ">i8"), ("days", ">i4"), ("months", ">i4")])
        found["microseconds"] = raw["nanoseconds"] // 1000
        found["days"], found["months"] = raw["days"], raw["months"]
    else:
        found = raw.astype(raw.dtype.newbyteorder(">"))
    return pc.if_else(column.is_valid(), _fixed(found), pa.scalar(None, pa.binary()))


def _moved(raw: np.ndarray[Any, Any], by: int, kind: Any) -> np.ndarray[Any, Any]:
    """Counted from 2000 instead of from 1970. Infinity is the largest value for both, its negative the smallest."""
    import numpy as np

    most = np.iinfo(kind).max
    with np.errstate(over="ignore"):
        moved = raw - kind(by)
    return np.where(raw == most, most, np.where(raw == -most, np.iinfo(kind).min, moved)).astype(kind)


def numeric(text: str) -> bytes:
    """A number in PostgreSQL's binary NUMERIC: groups of four decimal digits."""
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    whole = "".join(map(str, digits)) + "0" * max(0, exponent)
    before, behind = (whole[:-scale], whole[-scale:]) if scale else (whole, "")
    behind = behind.rjust(scale, "0")
    before = before.rjust(-(-len(before) // 4) * 4, "0")
    behind = behind.ljust(-(-len(behind) // 4) * 4, "0")
    groups = [int((before + behind)[at : at + 4]) for at in range(0, len(before + behind), 4)]
    weight = len(before) // 4 - 1
    while groups and not groups[0]:
        groups.pop(0)
        weight -= 1
    while groups and not groups[-1]:
        groups.pop()
    return struct.pack(
        f"!hhHh{len(groups)}h", len(groups), weight if groups else 0, 0x4000 if sign else 0, scale, *groups
    )


def _copy_text(column: pa.Array, delimiter: str) -> pa.Array:
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring_regex(column, f"[\\\\\b\f\n\r\t\v\\x{ord(delimiter):02x}]")).as_py():
        return column
    marks = (("\\", "\\\\"), ("\b", "\\b"), ("\f", "\\f"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\v", "\\v"))
    for mark, written in (*marks, *(() if delimiter == "\t" else ((delimiter, "\\" + delimiter),))):
        column = pc.replace_substring(column, mark, written)
    return column


def _copy_csv(column: pa.Array, delimiter: str) -> pa.Array:
    import pyarrow.compute as pc

    needs = pc.equal(column, "")
    for mark in (delimiter, '"', "\n", "\r"):
        needs = pc.or_(needs, pc.match_substring(column, mark))
    needs = pc.or_(needs, pc.equal(column, "\\."))
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(column, '"', '""'), '"', "")
    return pc.if_else(needs, quoted, column)


def _quoted(name: str, delimiter: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(mark in name for mark in (delimiter, '"', "\n", "\r")) else name
