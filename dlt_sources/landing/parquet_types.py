"""Parquet's types of which DuckDB cuts values without a word: wide decimals, and nanoseconds that it doesn't show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from dlt_sources.landing.column_types import literal
from dlt_sources.landing.parquet_integrity import ParquetProblem

MOST_DIGITS = 38


def refuse_what_would_be_cut(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise ParquetProblem for a decimal that DuckDB reads as another number, and a time that it cuts."""
    rows = connection.execute(
        "SELECT name, coalesce(num_children, 0), type, coalesce(logical_type, ''), coalesce(precision, 0), scale"
        f" FROM parquet_schema({literal(str(path))})"
    ).fetchall()
    leaf, below, top = -1, 0, ""
    for name, children, physical, logical, precision, scale in rows[1:]:  # the first is the file's root
        top = name if below == 0 else top
        below += children - (below > 0)
        if children:
            continue
        leaf += 1
        if precision > MOST_DIGITS:
            raise ParquetProblem(f"column {top[:80]}: DECIMAL({precision},{scale}) has more than {MOST_DIGITS} digits")
        # TIMESTAMP_NS without a zone is a type of DuckDB's own: column_types looks at its values.
        is_hidden = "NANOS=Nano" in logical and ("TimeType" in logical or "isAdjustedToUTC=1" in logical)
        if physical == "INT96" or is_hidden:
            _refuse_nanoseconds(path, leaf, top, is_int96=physical == "INT96")


def _refuse_nanoseconds(path: Path, leaf: int, column: str, *, is_int96: bool) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    first = 1
    try:
        with (
            ParquetFile(path, coerce_int96_timestamp_unit="ns") as file,
            ParquetFile(path, coerce_int96_timestamp_unit="us") as cut,
        ):
            selected = [file.schema.column(leaf).path]
            batches = (reader.iter_batches(columns=selected, use_threads=False) for reader in (file, cut))
            for nanos, micros in zip(*batches, strict=True):
                for exact, rounded in zip(_leaves(nanos.column(0)), _leaves(micros.column(0)), strict=True):
                    # INT96 goes beyond the years that 64 bits of nanoseconds count: both sides wrap the same way.
                    beyond = exact - rounded * 1000 if is_int96 else exact % 1000
                    if len(found := beyond.nonzero()[0]):
                        row = f"row {first + found[0]}, " if len(exact) == nanos.num_rows else ""
                        raise ParquetProblem(
                            f"{row}column {column[:80]}: a time has nanoseconds; times are kept to the microsecond"
                        )
                first += nanos.num_rows
    except (pa.ArrowException, OSError, ValueError, IndexError) as error:
        if isinstance(error, ParquetProblem):
            raise
        raise ParquetProblem(f"column {column[:80]}: its times can't be read") from error


def _leaves(array: Any) -> Iterator[Any]:
    """The times in an array, nested ones too, as numbers of their unit; 0 where there is none."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_struct(kind):
        for part in array.flatten():
            yield from _leaves(part)
    elif pa.types.is_map(kind):
        yield from _leaves(array.keys)
        yield from _leaves(array.items)
    elif pa.types.is_nested(kind):
        yield from _leaves(array.flatten())
    elif pa.types.is_timestamp(kind) or pa.types.is_time64(kind):
        yield array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
