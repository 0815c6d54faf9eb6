"""Messages of PostgreSQL's protocol 3, as a server reads and writes them: no length is believed.

`pygwire` 0.2.0, the codec that was tried, buffers up to 1 GB before it refuses a message, takes negative lengths of
values, doesn't know that a minor version may be negotiated, and makes an object of every row.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lakehouse.query.engine.problems import QueryError

LARGEST = 200_000
"""Bytes of one message: as of a body over HTTP."""
LARGEST_START = 10_000
PROTOCOL = 3 << 16
TLS_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
BROKEN = "The message can't be read: its lengths don't fit together."


class Fields:
    """Reads the fields of one message."""

    def __init__(self, content: bytes):
        self._content = content
        self._at = 0

    def text(self) -> str:
        """Up to its zero."""
        end = self._content.find(b"\0", self._at)
        if end < 0:
            raise QueryError("invalid-request", BROKEN)
        found, self._at = self._content[self._at : end], end + 1
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise QueryError("invalid-request", "The message holds a text that is no UTF-8.") from None

    def number(self, size: int) -> int:
        """An integer of so many bytes."""
        return int.from_bytes(self.take(size), signed=True)

    def take(self, size: int) -> bytes:
        """So many."""
        if size < 0 or self._at + size > len(self._content):
            raise QueryError("invalid-request", BROKEN)
        found, self._at = self._content[self._at : self._at + size], self._at + size
        return found

    def value(self) -> bytes | None:
        """A length and as many bytes, or NULL."""
        size = self.number(4)
        return None if size == -1 else self.take(size)

    def numbers(self, size: int) -> list[int]:
        """A count and as many integers."""
        return [self.number(size) for _ in range(self.count())]

    def count(self) -> int:
        """Of what follows."""
        return int.from_bytes(self.take(2))

    def end(self) -> None:
        """Raises QueryError when there is more."""
        if self._at != len(self._content):
            raise QueryError("invalid-request", BROKEN)


@dataclass(frozen=True)
class Parse:
    """A statement to remember."""

    name: str
    sql: str
    types: Sequence[int]

    @classmethod
    def of(cls, content: bytes) -> Parse:
        """From its content."""
        fields = Fields(content)
        found = cls(fields.text(), fields.text(), fields.numbers(4))
        fields.end()
        return found


@dataclass(frozen=True)
class Bind:
    """Values for a statement."""

    portal: str
    statement: str
    formats: Sequence[int]
    values: Sequence[bytes | None]
    result_formats: Sequence[int]

    @classmethod
    def of(cls, content: bytes) -> Bind:
        """From its content."""
        fields = Fields(content)
        portal, statement, formats = fields.text(), fields.text(), fields.numbers(2)
        values = [fields.value() for _ in range(fields.count())]
        found = cls(portal, statement, formats, values, fields.numbers(2))
        fields.end()
        if not {*formats, *found.result_formats} <= {0, 1} or len(formats) not in (0, 1, len(values)):
            raise QueryError("invalid-request", "A format is neither text nor binary, or there are too few.")
        return found

    def is_binary(self, number: int) -> bool:
        """Whether this value, from 0, is."""
        return bool(self.formats) and self.formats[number if len(self.formats) > 1 else 0] == 1


def start_parameters(content: bytes) -> dict[str, str]:
    """What a client says of itself at its start."""
    fields, found = Fields(content), {}
    while name := fields.text():
        found[name] = fields.text()
    fields.end()
    return found


def message(kind: bytes, *parts: bytes) -> bytes:
    """One message."""
    content = b"".join(parts)
    return kind + struct.pack("!i", len(content) + 4) + content


def text(value: str) -> bytes:
    """A text and its zero."""
    return value.replace("\0", "").encode(errors="replace") + b"\0"


def notice(kind: bytes, fields: Mapping[str, str]) -> bytes:
    """An error (E) or a notice (N)."""
    return message(kind, *(key.encode() + text(value) for key, value in fields.items()), b"\0")


def ready(status: str) -> bytes:
    """ReadyForQuery: I, or in a transaction T, or in one that failed E."""
    return message(b"Z", status.encode())


def complete(tag: str) -> bytes:
    """CommandComplete."""
    return message(b"C", text(tag))


def parameter(name: str, value: str) -> bytes:
    """ParameterStatus."""
    return message(b"S", text(name), text(value))


AUTHENTICATED = message(b"R", struct.pack("!i", 0))
PASSWORD_WANTED = message(b"R", struct.pack("!i", 3))
PARSED, BOUND, CLOSED = message(b"1"), message(b"2"), message(b"3")
NO_DATA, SUSPENDED, EMPTY, COPIED = message(b"n"), message(b"s"), message(b"I"), message(b"c")


def columns_message(columns: Sequence[tuple[str, int, int, int, int]]) -> bytes:
    """RowDescription, of name, OID, size, modifier and format."""
    parts = [struct.pack("!h", len(columns))]
    for name, oid, size, modifier, form in columns:
        parts += [text(name), struct.pack("!ihihih", 0, 0, oid, size, modifier, form)]
    return message(b"T", *parts)


def parameters_message(types: Sequence[int]) -> bytes:
    """ParameterDescription."""
    return message(b"t", struct.pack("!h", len(types)), *(struct.pack("!i", one) for one in types))


def copy_out(columns: int, *, binary: bool) -> bytes:
    """CopyOutResponse."""
    form = int(binary)
    return message(b"H", struct.pack("!bh", form, columns), struct.pack("!h", form) * columns)


def row(values: Sequence[str | None]) -> bytes:
    """A DataRow of texts."""
    parts = [struct.pack("!h", len(values))]
    for value in values:
        content = b"" if value is None else value.encode()
        parts += [struct.pack("!i", -1 if value is None else len(content)), content]
    return message(b"D", *parts)


def split_rows(rows: bytes, most: int) -> tuple[int, int]:
    """The end of the first `most` messages in a piece that holds whole ones, and how many these are."""
    at = count = 0
    while at < len(rows) and count < most:
        at += 1 + int.from_bytes(rows[at + 1 : at + 5])
        count += 1
    return at, count
