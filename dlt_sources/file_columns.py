"""A CSV or Parquet file as a relation that DuckDB reads without guessing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from dlt_sources.column_types import literal, quote
from dlt_sources.csv_text import has_crlf, read_head, write_with_one_line_end


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
    has_one_line_end: bool = False

    def may_mix_line_ends(self) -> bool:
        """Whether a failure to read the file may be due to its line ends."""
        return self.is_text and not self.has_one_line_end and has_crlf(self.path)

    def with_one_line_end(self) -> FileColumns:
        """The same rows from a copy of the file beside it, in which every record ends in LF."""
        copy = self.path.with_name("one_line_end.csv")
        write_with_one_line_end(self.path, copy)
        relation = self.relation.replace(literal(str(self.path)), literal(str(copy)))
        return replace(self, path=copy, relation=relation, has_one_line_end=True)


def columns_of(connection: duckdb.DuckDBPyConnection, path: Path, delimiter: str) -> FileColumns:
    """Look at a file. Raises CsvProblem, or DuckDB's own error for a broken Parquet file."""
    if path.suffix != ".parquet":
        return _csv(path, delimiter)
    relation = f"SELECT * FROM read_parquet({literal(str(path))}, file_row_number = true)"
    described = connection.execute(f"DESCRIBE {relation}").fetchall()
    columns = [FileColumn(name, quote(name), found) for name, found, *_ in described]
    return FileColumns(path, relation, "file_row_number + 1", tuple(columns[:-1]), is_text=False)


def _csv(path: Path, delimiter: str) -> FileColumns:
    """Every column as text, under a name of ours (c0, c1, …): headers may hold anything."""
    head = read_head(path, delimiter)
    columns = [FileColumn(name, f"c{index}", "VARCHAR") for index, name in enumerate(head.names)]
    types = ", ".join(f"'{column.source}': 'VARCHAR'" for column in columns)
    relation = (
        f"SELECT *, record - {head.records_before_data} AS row_number FROM ("
        f"SELECT *, row_number() OVER () AS record FROM read_csv({literal(str(path))}, auto_detect = false,"
        f" header = false, delim = {literal(delimiter)}, quote = '\"', escape = '\"', comment = '',"
        f" columns = {{{types}}})) WHERE record > {head.records_before_data}"
    )
    return FileColumns(path, relation, "row_number", tuple(columns), is_text=True)
