"""Rows whose values have types of their own (JSON, a workbook) as Parquet of their exact texts."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 20_000
BATCH_CHARACTERS = 1 << 25


class RowProblem(ValueError):
    """The rows can't be loaded; the message says where and why."""


class Number(str):
    """A number as its file writes it: never through a DOUBLE."""

    __slots__ = ()


@dataclass(frozen=True)
class TextTable:
    """Parquet files with columns c0, c1, … of text, `row_number` from 1, and `place`, the row's line in its file.

    `kinds` are the types of the values that each column has.
    """

    parts: list[Path]
    kinds: Mapping[Hashable, set[type]]
    rows: int


def write_texts(
    rows: Iterable[tuple[int, Mapping[Any, Any]]],
    keys: Sequence[Hashable],
    nulls: Sequence[str],
    folder: Path,
    most_columns: int,
) -> TextTable:
    """Write rows, each with its place and its values by column; a column that is none of `keys` comes last.

    Raises RowProblem for too many columns, and text that is no Unicode.
    """
    folder.mkdir()
    null = frozenset(nulls)
    kinds: dict[Hashable, set[type]] = {key: set() for key in keys}
    batch: dict[Hashable, list[str | None]] = {key: [] for key in keys}
    places: list[int] = []
    parts: list[Path] = []
    done = characters = 0

    def flush() -> None:
        nonlocal done, characters
        columns = {
            f"c{index}": pa.array(_encodable(texts, places), pa.string()) for index, texts in enumerate(batch.values())
        }
        numbers = pa.array(range(done + 1, done + len(places) + 1), pa.int64())
        parts.append(folder / f"part{len(parts)}.parquet")
        pq.write_table(pa.table({**columns, "row_number": numbers, "place": pa.array(places, pa.int64())}), parts[-1])
        done, characters = done + len(places), 0
        places.clear()
        for texts in batch.values():
            texts.clear()

    for place, row in rows:
        for key in row:
            if key not in batch:
                if len(kinds) == most_columns:
                    raise RowProblem(f"line {place}: more than the {most_columns} columns that can be taken")
                kinds[key], batch[key] = set(), [None] * len(places)
        for key, texts in batch.items():
            value = row.get(key)
            if value is None or (isinstance(value, str) and value in null):
                texts.append(None)
                continue
            kinds[key].add(type(value))
            text = value if isinstance(value, str) else as_text(value)
            characters += len(text)
            texts.append(text)
        places.append(place)
        if len(places) == BATCH_ROWS or characters > BATCH_CHARACTERS:
            flush()
    if places or not parts:
        flush()
    return TextTable(parts, kinds, done)


def sql_type(kinds: set[type]) -> str | None:
    """The SQL type of a column all of whose values have one that isn't text; None for text and numbers."""
    if kinds and kinds <= {date, datetime}:
        return "TIMESTAMP" if datetime in kinds else "DATE"
    return {bool: "BOOLEAN", time: "TIME"}.get(next(iter(kinds))) if len(kinds) == 1 else None


def as_text(value: Any) -> str:
    """A value as JSON and SQL write it; numbers as their file does."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_inner(one)}" for key, one in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(_inner, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _inner(value: Any) -> str:
    if value is None:
        return "null"
    return as_text(value) if type(value) is not str else json.dumps(value, ensure_ascii=False)


def _encodable(texts: list[str | None], places: list[int]) -> list[str | None]:
    try:
        "".join(text for text in texts if text).encode()
    except UnicodeEncodeError:
        for text, place in zip(texts, places, strict=True):
            if text and text != text.encode(errors="replace").decode():
                raise RowProblem(f"line {place}: a text is no Unicode (half a surrogate pair)") from None
    return texts
