"""Turn a file of any format into a Parquet file of declared types, with DuckDB and in bounded memory."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from dlt_sources.landing import column_types
from dlt_sources.landing.column_types import conversion, literal, quote
from dlt_sources.landing.csv_text import CsvProblem, line_of_other_width, long_line
from dlt_sources.landing.dialect import PLAIN
from dlt_sources.landing.file_columns import FileColumn, FileColumns, Holds, columns_of
from dlt_sources.landing.landed import SOURCE_FILE, SOURCE_ROW, Dataset
from dlt_sources.landing.naming import column_name, comparable, full_name
from dlt_sources.landing.parquet_integrity import ParquetProblem, broken_place
from dlt_sources.landing.tables import LOAD_ID
from dlt_sources.landing.text_table import RowProblem
from dlt_sources.landing.unpacking import PackedProblem, TooLarge, format_of, unpacked

MAX_NEW_COLUMNS = 100
MEMORY = "600MiB"
TOO_LARGE = "it unfolds to more than a file of its size may take on disk"

Found = dict[str, FileColumn]
"""Table column -> the file's."""


class UnusableFile(ValueError):
    """The file can't become rows of its dataset; the message says where and why."""


class NeedsMemory(UnusableFile):
    """The file takes more memory than this process has left."""


class NeedsDisk(UnusableFile):
    """The file becomes more on disk than this process may write."""


def link_local_file(uri: str, target: Path) -> None:
    """Make a local file readable at `target`: a path without the characters that DuckDB takes for a pattern."""
    target.symlink_to(Path(uri).resolve(strict=True))


def connect(scratch: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own for reading files: no network, UTC, memory bounded, spilling into `scratch`."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "memory_limit": MEMORY,
            "threads": min(os.cpu_count() or 2, 4),  # each takes memory of its own
            "temp_directory": str(scratch),
        }
    )
    # A file's own statistics may be wrong: no value is read otherwise because of them.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    connection.execute("SET TimeZone = 'UTC'")  # as a start-up option it is refused: ICU isn't loaded yet
    return connection


@dataclass(frozen=True)
class Written:
    """What a file became: its rows, of its columns that nobody declared the types and the headers, what it lacks."""

    rows: int
    types: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TypedParquet:
    """Writes the files of one dataset as its raw table has them.

    `known_columns` are all of the raw table's columns and their types, in order; a column that is new there
    is written too. `headers` tells of columns that earlier files brought what they were called there. `rows_before`
    are those of the same archive.
    """

    connection: duckdb.DuckDBPyConnection
    dataset: Dataset
    known_columns: Mapping[str, str]
    headers: Mapping[str, str]
    load_id: str
    rows_before: int = 0

    def write(self, path: Path, target: Path, source_file: str) -> Written:
        """Write `path`'s rows to `target`.

        Raises:
            UnusableFile: it can't be done, and why; NeedsMemory: a process that has read nothing else might do it.
            OSError: the disk is full.
        """
        form, compression = format_of(path.name)
        if not compression:
            return self._write(path, form, target, source_file)
        try:
            return self._write_members(path, form, compression, target, source_file)
        except TooLarge as error:
            raise NeedsDisk(str(error)) from error
        except PackedProblem as error:
            raise UnusableFile(str(error)) from error
        except OSError as error:
            raise (NeedsDisk(TOO_LARGE) if error.errno == errno.EFBIG else error) from error

    def _write_members(self, path: Path, form: str, compression: str, target: Path, source_file: str) -> Written:
        """One file, or those of an archive one after the other: what an earlier one brings holds for the later."""
        parts: list[Path] = []
        reader, whole = self, Written(0)
        for name, member in unpacked(path, form, compression):
            of_member = format_of(name or member.name)
            if of_member[1] or of_member[0] not in self.dataset.formats:
                raise UnusableFile(f"{name or 'the file in it'} is none of {', '.join(self.dataset.formats)}")
            parts.append(target.with_name(f"{target.name}.{len(parts)}"))
            try:
                written = reader._write(member, of_member[0], parts[-1], source_file)
            except UnusableFile as error:
                raise type(error)(f"{name}: {error}" if name else str(error)) from error
            whole = Written(
                whole.rows + written.rows,
                whole.types | written.types,
                written.headers | whole.headers,
                [*whole.lacking, *(column for column in written.lacking if column not in whole.lacking)],
            )
            reader = replace(
                self,
                known_columns={**reader.known_columns, **written.types},
                headers={**written.headers, **reader.headers},
                rows_before=whole.rows,
            )
        if len(parts) == 1:
            parts[0].rename(target)
            return whole
        concatenate(self.connection, parts, target)
        self._refuse_shared_key(target)
        return whole

    def _write(self, path: Path, form: str, target: Path, source_file: str) -> Written:
        file: FileColumns | None = None
        try:
            most = len(self.known_columns) + MAX_NEW_COLUMNS
            file = columns_of(self.connection, path, form, self.dataset, most)
            found = self._by_table_column(file)
            types = self._types(file, found)
            count = self._copy_or_explain(file, found, types, target, source_file)
            if file.rows is not None and count != file.rows:
                raise UnusableFile(f"no readable {form.upper()} file: it says {file.rows} rows, and gives {count}")
            self._refuse_shared_key(target)
            declared = self.dataset.table.column_types
            new = {name: column.name for name, column in found.items() if name not in declared}
            expected = [column.name for column in self.dataset.columns if column.required is not False]
            lacking = [name for name in expected if name not in found]
            return Written(count, {name: types[name] for name in new}, new, lacking)
        except duckdb.Error as error:
            raise self._refusal(error, file, path, form) from error
        except (CsvProblem, ParquetProblem, RowProblem) as error:
            raise UnusableFile(str(error)) from error
        except OSError as error:
            raise (NeedsDisk(TOO_LARGE) if error.errno == errno.EFBIG else error) from error

    def _refusal(self, error: duckdb.Error, file: FileColumns | None, path: Path, form: str) -> UnusableFile | OSError:
        text = str(error)
        if isinstance(error, duckdb.OutOfMemoryException) or "allocat" in text.lower():
            return NeedsMemory("reading it takes more memory than a file may have: split it, or shorten its values")
        if "No space left" in text:
            return OSError("there is no space left on the disk")
        if "File too large" in text:
            return NeedsDisk(TOO_LARGE)
        if found := column_types.misfit(text):
            row, sentence = found
            return UnusableFile(sentence + (file.place_of(row) if file else ""))
        path = file.path if file else path
        reason = _reason(error, path, form)
        if form == "parquet":
            is_usable = not isinstance(error, duckdb.InternalException | duckdb.FatalException)
            place = broken_place(self.connection, path) if is_usable else ""
            return UnusableFile(reason + (f" ({place})" if place else ""))
        if form == "csv":
            return UnusableFile(long_line(path) or self._with_line(reason, path))
        return UnusableFile(reason)

    def _with_line(self, reason: str, path: Path) -> str:
        """DuckDB's sentence about a record of another width with the line that an editor shows."""
        width = re.search(r"Expected Number of Columns: (\d+)", reason)
        line = line_of_other_width(path, self.dataset.dialect, int(width[1])) if width else None
        return re.sub(r"on Line: \d+", f"on Line: {line}", reason, count=1) if line else reason

    def _copy_or_explain(
        self, file: FileColumns, found: Found, types: Mapping[str, str], target: Path, source_file: str
    ) -> int:
        try:
            count = self._copy(self._select(file, found, types, source_file, careful=False), target)
            if self._is_in_calendar(target):
                return count
        except duckdb.Error as error:
            if isinstance(error, duckdb.OutOfMemoryException):
                raise
            if file.may_mix_line_ends():
                file = file.with_one_line_end(self.dataset.dialect)
                return self._copy_or_explain(file, found, types, target, source_file)
        return self._copy(self._select(file, found, types, source_file, careful=True), target)

    def _is_in_calendar(self, target: Path) -> bool:
        """Whether every time lies in the years 1 to 9999. Answered by the row groups' statistics: nothing is read."""
        source = f"read_parquet({literal(str(target))})"
        times = [
            f"{quote(name)} NOT BETWEEN {column_types.calendar(kind)}"
            for name, kind, *_ in self.connection.execute(f"DESCRIBE FROM {source}").fetchall()
            if column_types.is_time(kind)
        ]
        if not times:
            return True
        found = self.connection.execute(f"SELECT 1 FROM {source} WHERE {' OR '.join(times)} LIMIT 1").fetchone()
        return found is None

    def _copy(self, select: str, target: Path) -> int:
        copied = self.connection.execute(f"COPY ({select}) TO {literal(str(target))} (FORMAT parquet)")
        row = copied.fetchone()
        return int(row[0]) if row else 0

    def _refuse_shared_key(self, target: Path) -> None:
        if not self.dataset.key:
            return
        key = ", ".join(quote(name) for name in self.dataset.key)
        source = f"read_parquet({literal(str(target))})"
        all_differ = self.connection.execute(f"SELECT count(DISTINCT hash({key})) = count(*) FROM {source}").fetchone()
        if all_differ and all_differ[0]:
            return
        shared = self.connection.execute(
            f"SELECT min({SOURCE_ROW.name}), max({SOURCE_ROW.name}), {key} FROM {source}"
            f" GROUP BY ALL HAVING count(*) > 1 ORDER BY 2 LIMIT 1"
        ).fetchone()
        if shared:
            first, second, *values = shared
            shown = ", ".join(f"{name} {value!s:.80}" for name, value in zip(self.dataset.key, values, strict=True))
            raise UnusableFile(f"row {second}, column {', '.join(self.dataset.key)}: {shown} is in row {first} too")

    def _types(self, file: FileColumns, found: Found) -> dict[str, str]:
        """The types of the table's columns, new ones last."""
        types = dict(self.known_columns)
        new = [name for name in found if name not in types]
        if len(new) > MAX_NEW_COLUMNS:
            raise UnusableFile(
                f"{len(new)} columns that {self.dataset.name} does not declare ({', '.join(new[:3])}, …);"
                f" at most {MAX_NEW_COLUMNS} new ones are taken from one file"
            )
        return types | self._types_of_new(file, {name: found[name] for name in new})

    def _select(
        self, file: FileColumns, found: Found, types: Mapping[str, str], source_file: str, *, careful: bool
    ) -> str:
        added = {
            SOURCE_FILE.name: literal(source_file),
            SOURCE_ROW.name: f"{file.row_number} + {self.rows_before}",
            LOAD_ID.name: literal(self.load_id),
        }
        declared = self.dataset.table.column_types
        selected = []
        for name, wanted in types.items():
            if name in added:
                value = f"CAST({added[name]} AS {wanted})"
            elif column := found.get(name):
                value = conversion(
                    column.source,
                    column.type,
                    name,
                    wanted,
                    file.row_number,
                    careful=careful,
                    declared=name in declared or column.holds in (Holds.typed, Holds.numbers),
                    dialect=self.dataset.dialect if column.holds in (Holds.text, Holds.anything) else PLAIN,
                )
            else:
                value = f"CAST(NULL AS {wanted})"
            selected.append(f"{value} AS {quote(name)}")
        return f"SELECT {', '.join(selected)} FROM ({file.relation}){_refusing_cr(file)}"

    def _by_table_column(self, file: FileColumns) -> Found:
        """The file's columns by the table's. Raises UnusableFile for missing and ambiguous ones."""
        declared = {
            column_name(alias): column.name
            for column in self.dataset.columns
            for alias in (column.name, *column.aliases)
        }
        folded = {name.casefold(): name for name in self.known_columns}
        found: Found = {}
        for number, column in enumerate(file.columns, start=1):
            shown = f"column {number}, {column.name[:80]!r},"
            if not column.name.strip():
                raise UnusableFile(f"column {number} has no name")
            in_table = declared.get(column_name(column.name)) or self._new_name(column.name, found)
            if in_table in found:
                raise UnusableFile(f"{shown} is there twice: both are {in_table}")
            if in_table in (SOURCE_FILE.name, SOURCE_ROW.name) or in_table.startswith("_dlt"):
                raise UnusableFile(f"{shown} has a name that the lake keeps for itself")
            if (other := folded.setdefault(in_table.casefold(), in_table)) != in_table:
                raise UnusableFile(f"{shown} differs from the column {other} in nothing but case: rename it")
            found[in_table] = column
        required = [column.name for column in self.dataset.columns if column.required]
        if missing := [name for name in required if name not in found]:
            header = ", ".join(column.name for column in file.columns)
            raise UnusableFile(f"no column {', '.join(missing)}; the file's columns are: {header[:300]}")
        return found

    def _new_name(self, header: str, found: Found) -> str:
        """A column that nobody declared: with its signs in the name where another header has the plain one."""
        known = dict(self.headers) | {name: column.name for name, column in found.items()}
        for name in (column_name(header), full_name(header)):
            if comparable(known.get(name, header)) == comparable(header):
                return name
        raise UnusableFile(
            f"column {header[:80]!r} would be {name}, which {known[name][:80]!r} is: rename it, or make it an alias"
        )

    def _types_of_new(self, file: FileColumns, new: Found) -> dict[str, str]:
        types = {name: column_types.type_for_new_column(column.type) for name, column in new.items()}
        unknown = [name for name, column in new.items() if column.holds in (Holds.numbers, Holds.anything)]
        if not unknown:
            return types
        dialects = {Holds.numbers: PLAIN, Holds.anything: self.dataset.dialect}
        tests = [column_types.type_of_text(new[name].source, dialects[new[name].holds]) for name in unknown]
        row = self.connection.execute(f"SELECT {', '.join(tests)} FROM ({file.relation})").fetchone()
        return types | dict(zip(unknown, row or (), strict=True))


def concatenate(connection: duckdb.DuckDBPyConnection, parts: Sequence[Path], target: Path) -> None:
    """Write Parquet files as one: what a column is called is one type in all."""
    paths = ", ".join(literal(str(part)) for part in parts)
    connection.execute(
        f"COPY (FROM read_parquet([{paths}], union_by_name = true)) TO {literal(str(target))} (FORMAT parquet)"
    )


def _refusing_cr(file: FileColumns) -> str:
    """Stop at a CR that the reader took for the end of the last value. (CASE: AND would evaluate both sides.)"""
    if not file.is_text:
        return ""
    last = file.columns[-1].source
    error = f"error('the file mixes line ends' || left({last}, 0))"
    return f" WHERE CASE WHEN ends_with({last}, chr(13)) THEN {error} IS NULL ELSE true END"


def _reason(error: duckdb.Error, path: Path, form: str) -> str:
    """DuckDB's message without its advice on options, our SQL and our scratch path; long lines cut."""
    message = str(error).split("Possible ")[0].split("\n\nLINE ")[0].replace(str(path), "the file")
    _, prefix, text = message.partition("Error: ")
    lines = (text if prefix else message).splitlines()
    reason = " ".join(line if len(line) <= 120 else line[:120] + "…" for line in lines if line.strip())
    return f"no readable {form.upper()} file: {reason[:400]}"
