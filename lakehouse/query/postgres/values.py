"""Values that a client binds, from text or binary to texts that DuckDB casts."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from lakehouse.query.engine.literals import Literal, list_items
from lakehouse.query.engine.postgres_types import ARRAYS, NAMES
from lakehouse.query.engine.problems import QueryError

DAY_0 = date(2000, 1, 1)
MOMENT_0 = datetime(2000, 1, 1, tzinfo=UTC)
SPECIAL = {0x4000: "-", 0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}


def bound(oid: int, value: bytes | None, *, binary: bool) -> Literal:
    """A value as a literal's type and text.

    Raises:
        QueryError: it is no value of its type, or its type is not known in binary.
    """
    item = ARRAYS.get(oid)
    kind = NAMES.get(item or oid, "") + ("[]" if item else "")
    if value is None:
        return kind, None
    try:
        if item:
            return kind, _binary_list(value) if binary else list_items(value.decode())
        if binary and kind:
            return kind, _from_binary(oid, value)
        text = value.decode()
    except (UnicodeDecodeError, struct.error, ValueError, OverflowError, IndexError):
        raise QueryError("failed", f"A value can't be read as {kind or 'text'}.") from None
    if "\0" in text:
        raise QueryError("failed", "A text may hold no NUL character.")
    return kind, _blob(bytes.fromhex(text[2:])) if kind == "BLOB" and text.startswith("\\x") else text


def _blob(content: bytes) -> str:
    return "".join(f"\\x{one:02X}" for one in content)


def _from_binary(oid: int, value: bytes) -> str:
    match oid:
        case 16:
            return "true" if value != b"\0" else "false"
        case 17:
            return _blob(value)
        case 20 | 21 | 23 | 26:
            return str(int.from_bytes(value, signed=oid != 26))
        case 700 | 701:
            return repr(struct.unpack("!f" if oid == 700 else "!d", value)[0])
        case 1082:
            (days,) = struct.unpack("!i", value)
            return _endless(days, 32) or (DAY_0 + timedelta(days=days)).isoformat()
        case 1083:
            (microseconds,) = struct.unpack("!q", value)
            return (MOMENT_0 + timedelta(microseconds=microseconds)).time().isoformat()
        case 1114 | 1184:
            (microseconds,) = struct.unpack("!q", value)
            moment = (MOMENT_0 + timedelta(microseconds=microseconds)).replace(tzinfo=UTC if oid == 1184 else None)
            return _endless(microseconds, 64) or moment.isoformat(sep=" ")
        case 1186:
            microseconds, days, months = struct.unpack("!qii", value)
            return f"{months} months {days} days {microseconds} microseconds"
        case 1700:
            return _numeric(value)
        case 2950:
            return str(UUID(bytes=value))
        case 3802:
            return value[1:].decode()
    return value.decode()


def _endless(value: int, bits: int) -> str:
    return {(1 << bits - 1) - 1: "infinity", -(1 << bits - 1): "-infinity"}.get(value, "")


def _numeric(value: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from("!hhHh", value)
    if sign in SPECIAL and sign != 0x4000:
        return SPECIAL[sign]
    groups = struct.unpack_from(f"!{count}h", value, 8)
    if abs(weight) > 100 or not 0 <= scale <= 400:
        raise ValueError("a number of that size")
    digits = tuple(int(digit) for group in groups for digit in f"{group:04d}")
    return f"{SPECIAL.get(sign, '')}{Decimal((0, digits or (0,), 4 * (weight + 1 - count))):.{scale}f}"


def _binary_list(value: bytes) -> list[str | None]:
    dimensions, _, oid = struct.unpack_from("!iii", value)
    if dimensions == 0:
        return []
    if dimensions != 1:
        raise ValueError("more than one dimension")
    (count,) = struct.unpack_from("!i", value, 12)
    found: list[str | None] = []
    at = 20
    for _ in range(count):
        (size,) = struct.unpack_from("!i", value, at)
        at += 4
        if size < -1 or at + max(size, 0) > len(value):
            raise ValueError("a length that doesn't fit")
        found.append(None if size == -1 else _from_binary(oid, value[at : at + size]))
        at += max(size, 0)
    return found
