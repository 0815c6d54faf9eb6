"""Answers as a program holds them: an Arrow table and what the service said of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lakehouse.query.engine.formats import unique_names
from lakehouse.query.engine.problems import QueryError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

CUT = b"lakehouse.cut"
TYPE = b"duckdb.type"


class Column(NamedTuple):
    """A column's name and its DuckDB type."""

    name: str
    type: str


@dataclass
class About:
    """Where an answer came from and what it took."""

    release: int
    environment: str
    cut_at: str
    """When the release was cut, in UTC."""
    held: str = ""
    """`held at N by …` while readers are kept at a release."""
    warm: bool = False
    """Whether the worker had the release open already."""
    cached: bool = False
    rows: int = 0
    cut: str = ""
    """`rows` or `bytes`, whichever limit cut the answer; empty when it is whole."""
    execution_ms: float = math.nan
    """At the service. NaN where it did not say: of a long answer in Arrow it sends the head before it knows."""


@dataclass
class Stream:
    """An answer on its way. `about` is complete once `pieces` have ended, but for what a format can't say."""

    about: About
    pieces: Iterator[bytes]


@dataclass
class Result(About):
    """A whole answer."""

    round_trip_ms: float = 0.0
    """From the question to the last byte."""
    columns: list[Column] = field(default_factory=list)
    _table: Any = field(default=None, repr=False)

    def arrow(self) -> pa.Table:
        """An Arrow table, with the names that were asked for, which may repeat."""
        return self._table

    def pandas(self) -> pd.DataFrame:
        """A pandas frame. A name that stood before has `_1` behind it."""
        return self._uniquely_named().to_pandas()

    def polars(self) -> pl.DataFrame:
        """A Polars frame. A name that stood before has `_1` behind it."""
        import polars as pl

        frame = pl.from_arrow(self._uniquely_named())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _uniquely_named(self) -> pa.Table:
        return self._table.rename_columns(unique_names(self._table.column_names))


def read_arrow(content: bytes) -> tuple[pa.Table, str]:
    """The table of an Arrow stream, and which limit cut it.

    Raises:
        QueryError: it is none, or broke off.
    """
    import pyarrow as pa

    batches, cut = [], ""
    try:
        with pa.ipc.open_stream(content) as reader:
            while True:
                try:
                    batch, said = reader.read_next_batch_with_custom_metadata()
                except StopIteration:
                    break
                if said is not None:
                    cut = dict(said).get(CUT, b"").decode()
                batches.append(batch)
            return pa.Table.from_batches(batches, schema=reader.schema), cut
    except (pa.ArrowException, OSError, EOFError):
        raise QueryError("unavailable", "The answer can't be read: it broke off or is no Arrow stream.") from None


def columns_of(table: pa.Table) -> list[Column]:
    """Names and DuckDB types, which the service sends along."""
    return [Column(one.name, (one.metadata or {}).get(TYPE, b"").decode() or str(one.type)) for one in table.schema]
