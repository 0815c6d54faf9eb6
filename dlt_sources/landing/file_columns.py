"""A file of any format as a relation that DuckDB reads without guessing anything."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import duckdb

from dlt_sources.landing.column_types import literal, quote
from dlt_sources.landing.csv_text import (
    CsvProblem,
    as_plain_text,
    has_crlf,
    header_names,
    line_of_row,
    read_head,
    write_with_one_line_end,
)
from dlt_sources.landing.dialect import Dialect
from dlt_sources.landing.json_rows import json_rows
from dlt_sources.landing.landed import Dataset
from dlt_sources.landing.parquet_integrity import ParquetProblem, check, top_level_names
from dlt_sources.landing.parquet_types import refuse_what_would_be_cut
from dlt_sources.landing.text_table import Number, sql_type, write_texts
from dlt_sources.landing.workbook_rows import workbook_rows

ROW_NUMBER = "file_row_number"


class Holds(Enum):
    """What a file says of a column's values."""

    typed = "values of the column's type"
    text = "text, as the dataset's dialect writes it"
    numbers = "numbers, as SQL writes them"
    anything = "text that may be anything: CSV"


@dataclass(frozen=True)
class FileColumn:
    """A column's name in the file, its name in the relation, and its DuckDB type."""

    name: str
    source: str
    type: str
    holds: Holds = Holds.typed


@dataclass(frozen=True)
class FileColumns:
    """`relation` is a SELECT over the file's rows, in which `row_number` counts them from 1."""

    path: Path
    relation: str
    row_number: str
    columns: tuple[FileColumn, ...]
    is_text: bool
    rows: int | None = None
    """How many the file says it has; a CSV file does not say."""
    place_of: Callable[[int], str] = lambda row: ""
    """Where a row stands in the file, where its number doesn't say it."""
    has_one_line_end: bool = False

    def may_mix_line_ends(self) -> bool:
        """Whether a failure to read the file may be due to its line ends."""
        return self.is_text and not self.has_one_line_end and has_crlf(self.path)

    def with_one_line_end(self, dialect: Dialect) -> FileColumns:
        """The same rows from a copy of the file beside it, in which every record ends in LF."""
        copy = self.path.with_name("one_line_end.csv")
        write_with_one_line_end(self.path, copy, dialect)
        relation = self.relation.replace(literal(str(self.path)), literal(str(copy)))
        return replace(self, path=copy, relation=relation, has_one_line_end=True)


def columns_of(
    connection: duckdb.DuckDBPyConnection, path: Path, form: str, dataset: Dataset, most_columns: int
) -> FileColumns:
    """Look at a file of a format.

    Raises CsvProblem, ParquetProblem, RowProblem, or DuckDB's own error for a broken Parquet file.
    """
    return _READERS[form](connection, path, dataset, most_columns)


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path, _: Dataset, most_columns: int) -> FileColumns:
    """The names are the file's own: DuckDB would number those that are there twice, which then look like new ones."""
    names, flat = top_level_names(connection, path)
    if len(names) > most_columns:
        raise ParquetProblem(too_many_columns(names, most_columns))
    for number, name in enumerate(names, start=1):
        if name.lower() == ROW_NUMBER:
            raise ParquetProblem(f"column {number}, {name!r}, has a name that the reader needs itself")
    rows = check(connection, path, flat)
    refuse_what_would_be_cut(connection, path)
    relation = f"SELECT * FROM read_parquet({literal(str(path))}, file_row_number = true)"
    described = connection.execute(f"DESCRIBE {relation}").fetchall()[:-1]
    if len(described) != len(names):
        raise ParquetProblem(f"its schema names {len(names)} columns, {len(described)} can be read")
    columns = [FileColumn(name, quote(read), kind) for name, (read, kind, *_) in zip(names, described, strict=True)]
    return FileColumns(path, relation, f"{ROW_NUMBER} + 1", tuple(columns), is_text=False, rows=rows)


def too_many_columns(names: Sequence[str], most: int) -> str:
    """The sentence for a file with more columns than its table can take."""
    return f"{len(names)} columns ({', '.join(name[:40] for name in names[:3])}, …); at most {most} can be taken"


def _csv(_: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, most_columns: int) -> FileColumns:
    """Every column as text, under a name of ours (c0, c1, …): headers may hold anything."""
    dialect = dataset.dialect
    path = as_plain_text(path, dialect)
    head = read_head(path, dialect, [column.name for column in dataset.columns])
    if len(head.names) > most_columns:
        raise CsvProblem(too_many_columns(head.names, most_columns))
    columns = [FileColumn(name, f"c{index}", "VARCHAR", Holds.anything) for index, name in enumerate(head.names)]
    types = ", ".join(f"'{column.source}': 'VARCHAR'" for column in columns)
    relation = (
        f"SELECT *, record - {head.records_before_data} AS row_number FROM ("
        f"SELECT *, row_number() OVER () AS record FROM read_csv({literal(str(path))}, auto_detect = false,"
        f" header = false, delim = {literal(dialect.delimiter)}, quote = {literal(dialect.quote)},"
        f" escape = {literal(dialect.escape or dialect.quote)}, comment = '', nullstr = {dialect.nulls()},"
        f" columns = {{{types}}})) WHERE record > {head.records_before_data}"
    )

    def line(row: int) -> str:
        return f" (line {line_of_row(path, dialect, row)})"

    return FileColumns(path, relation, "row_number", tuple(columns), is_text=True, place_of=line)


def _json(connection: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, most_columns: int) -> FileColumns:
    rows = json_rows(path, dataset.dialect.encoding)
    return _texts(connection, path, rows, {}, dataset, most_columns, "line")


def _workbook(connection: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, most_columns: int) -> FileColumns:
    header, rows = workbook_rows(path, dataset.dialect)
    names = header_names(header) if header else tuple(column.name for column in dataset.columns)
    while names and not names[-1]:  # formatted cells without a value
        names = names[:-1]
    if len(names) > most_columns:
        raise CsvProblem(too_many_columns(names, most_columns))
    return _texts(connection, path, rows, dict(enumerate(names)), dataset, most_columns, "row of the sheet")


def _texts(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    rows: Iterable[tuple[int, Mapping[Any, Any]]],
    names: Mapping[Hashable, str],
    dataset: Dataset,
    most_columns: int,
    place: str,
) -> FileColumns:
    """Rows whose values say what they are. Columns without a name and without a value are none."""
    folder = path.with_name(f"{path.name}.texts")
    table = write_texts(rows, list(names), dataset.dialect.null_texts, folder, most_columns)
    columns, selected = [], []
    for index, (key, kinds) in enumerate(table.kinds.items()):
        name = names.get(key, key if isinstance(key, str) else "")
        if not name and not kinds:
            continue
        kind = sql_type(kinds)
        holds = Holds.typed if kind else Holds.numbers if kinds == {Number} else Holds.text
        columns.append(FileColumn(name, f"c{index}", kind or "VARCHAR", holds))
        selected.append(f"CAST(c{index} AS {kind or 'VARCHAR'}) AS c{index}")
    if not columns:  # an empty array
        columns = [FileColumn(column.name, "NULL", "VARCHAR", Holds.text) for column in dataset.columns]
    parts = ", ".join(literal(str(part)) for part in table.parts)
    files = f"read_parquet([{parts}], union_by_name = true)"
    relation = f"SELECT {', '.join([*selected, 'row_number'])} FROM {files}"

    def place_of(row: int) -> str:
        found = connection.execute(f"SELECT place FROM {files} WHERE row_number = {row}").fetchone()
        return f" ({place} {found[0]})" if found else ""

    return FileColumns(path, relation, "row_number", tuple(columns), is_text=False, rows=table.rows, place_of=place_of)


def _orc(connection: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, most_columns: int) -> FileColumns:
    """By way of Parquet, which has the same types."""
    import pyarrow as pa
    from pyarrow import orc, parquet

    copy = path.with_name(f"{path.name}.parquet")
    try:
        file = orc.ORCFile(path)
        with parquet.ParquetWriter(copy, file.schema) as writer:
            for stripe in range(file.nstripes):
                writer.write_batch(file.read_stripe(stripe))
    except (pa.ArrowException, ValueError) as error:
        raise ParquetProblem(f"no readable ORC file: {str(error)[:200]}") from error
    except OSError as error:
        if error.errno is None:  # pyarrow's own
            raise ParquetProblem(f"no readable ORC file: {str(error)[:200]}") from error
        raise
    return _parquet(connection, copy, dataset, most_columns)


def _avro(connection: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, most_columns: int) -> FileColumns:
    """By way of Parquet too. Polars, which reads it, holds a whole file in memory."""
    import polars as pl

    copy = path.with_name(f"{path.name}.parquet")
    try:
        pl.read_avro(path).write_parquet(copy)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ParquetProblem(f"no readable Avro file: {str(error).splitlines()[0][:200]}") from error
    except OSError as error:
        if error.errno is None:  # polars' own
            raise ParquetProblem(f"no readable Avro file: {str(error)[:200]}") from error
        raise
    return _parquet(connection, copy, dataset, most_columns)


_READERS: Mapping[str, Callable[[duckdb.DuckDBPyConnection, Path, Dataset, int], FileColumns]] = {
    "csv": _csv,
    "json": _json,
    "jsonl": _json,
    "ndjson": _json,
    "xlsx": _workbook,
    "parquet": _parquet,
    "orc": _orc,
    "avro": _avro,
}
