"""A CSV or Parquet file as a relation that DuckDB reads without guessing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from dlt_sources.landing.column_types import literal, quote
from dlt_sources.landing.csv_text import CsvProblem, has_crlf, read_head, write_with_one_line_end
from dlt_sources.landing.dialect import Dialect
from dlt_sources.landing.landed import Dataset
from dlt_sources.landing.parquet_integrity import ParquetProblem, check, top_level_names
from dlt_sources.landing.parquet_types import refuse_what_would_be_cut

ROW_NUMBER = "file_row_number"


@dataclass(frozen=True)
class FileColumn:
    """A column's name in the file, its name in the relation, and its DuckDB type."""

    name: str
    source: str
    type: str


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


def columns_of(connection: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, most_columns: int) -> FileColumns:
    """Look at a file. Raises CsvProblem, ParquetProblem, or DuckDB's own error for a broken Parquet file."""
    return _parquet(connection, path, most_columns) if path.suffix == ".parquet" else _csv(path, dataset, most_columns)


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path, most_columns: int) -> FileColumns:
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


def _csv(path: Path, dataset: Dataset, most_columns: int) -> FileColumns:
    """Every column as text, under a name of ours (c0, c1, …): headers may hold anything."""
    dialect = dataset.dialect
    head = read_head(path, dialect, [column.name for column in dataset.columns])
    if len(head.names) > most_columns:
        raise CsvProblem(too_many_columns(head.names, most_columns))
    columns = [FileColumn(name, f"c{index}", "VARCHAR") for index, name in enumerate(head.names)]
    types = ", ".join(f"'{column.source}': 'VARCHAR'" for column in columns)
    relation = (
        f"SELECT *, record - {head.records_before_data} AS row_number FROM ("
        f"SELECT *, row_number() OVER () AS record FROM read_csv({literal(str(path))}, auto_detect = false,"
        f" header = false, delim = {literal(dialect.delimiter)}, quote = {literal(dialect.quote)},"
        f" escape = {literal(dialect.escape or dialect.quote)}, comment = '', nullstr = {dialect.nulls()},"
        f" columns = {{{types}}})) WHERE record > {head.records_before_data}"
    )
    return FileColumns(path, relation, "row_number", tuple(columns), is_text=True)
