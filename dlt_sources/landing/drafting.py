"""A declaration for files that nobody has declared yet: what can be seen in them, and in comments what can't."""

from __future__ import annotations

import csv
import json
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import duckdb

from dlt_sources.landing.column_types import fits, quote, type_for_new_column
from dlt_sources.landing.csv_text import CsvProblem
from dlt_sources.landing.dialect import PLAIN, Dialect
from dlt_sources.landing.file_columns import FileColumn, Holds, columns_of
from dlt_sources.landing.landed import FORMATS, Dataset, local_name
from dlt_sources.landing.naming import column_name
from dlt_sources.landing.parquet_integrity import ParquetProblem
from dlt_sources.landing.tables import DLT_TYPES, Column
from dlt_sources.landing.text_table import RowProblem
from dlt_sources.landing.typed_parquet import connect, link_local_file
from dlt_sources.landing.unpacking import PackedProblem, format_of, unpacked

SAMPLE_ROWS = 20_000
"""Of each file."""
SAMPLE_VALUES = 2_000
"""Of each column: its types are told by so many different ones."""
MOST_COLUMNS = 1_000
START_BYTES = 1 << 20
DELIMITERS = (",", ";", "\t", "|")
MARKS = ((".", ""), (",", ""), (".", ","), (",", "."), (",", " "), (".", " "), (".", "'"))
"""Decimal and thousands."""
DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%y", "%m/%d/%y",
        "%d.%m.%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")  # fmt: skip
TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H:%M:%S %z")
_KEY = re.compile(r"id$|(^|_)(key|no|nr|number|code|uuid|sku)$")
_MOMENT = re.compile(r"time|date|day|_at$|moment|created|when")


class NoDraft(ValueError):
    """No declaration can be made of these files; the message says why."""


@dataclass
class _Column:
    """What was seen of a column: `type` is "" for text whose values tell it."""

    name: str
    header: str
    type: str
    files: int = 1
    is_full: bool = False
    is_unique: bool = False
    notes: list[str] = field(default_factory=list)


def draft(name: str, entity: str, paths: Sequence[Path]) -> str:
    """The text of `<name>.toml` for these files.

    Raises:
        NoDraft: they can't be read, are of several formats, or have no columns.
        OSError: they are not there.
    """
    with tempfile.TemporaryDirectory(prefix="draft_") as scratch, connect(Path(scratch)) as connection:
        form, files = _opened(paths, Path(scratch))
        try:
            dialect, notes, width = _dialect(files[0]) if form == "csv" else (PLAIN, {}, 0)
            # Of a file without a header the columns are the declared ones.
            names = tuple(Column(f"column_{number}", "VARCHAR", "") for number in range(1, width + 1))
            columns = _sample(connection, form, Dataset(name, entity, "", "*", names, dialect=dialect), files)
            dialect = _with_forms(connection, columns, dialect, notes)
        except (CsvProblem, ParquetProblem, RowProblem, duckdb.Error) as error:
            raise NoDraft(f"{paths[0].name} can't be read: {str(error).splitlines()[0][:300]}") from error
        return _toml(entity, [path.name for path in paths], dialect, notes, columns)


def _opened(paths: Sequence[Path], scratch: Path) -> tuple[str, list[Path]]:
    """The files' format, and each where it can be read; of an archive its first file."""
    found: list[tuple[str, Path]] = []
    for number, path in enumerate(paths):
        folder = scratch / str(number)
        folder.mkdir()
        local = folder / local_name(path.name)
        link_local_file(str(path), local)
        form, compression = format_of(local.name)
        if compression:
            try:
                for _, member in unpacked(local, form, compression):
                    local = member.rename(folder / f"first{member.suffix}")
                    break
            except PackedProblem as error:
                raise NoDraft(f"{path.name}: {error}") from error
            form = format_of(local.name)[0]
        if form not in FORMATS:
            raise NoDraft(f"{path.name}: files end in one of {', '.join(FORMATS)}, and .gz, .zst or .zip behind that")
        found.append((form, local))
    if len(forms := {form for form, _ in found}) > 1:
        raise NoDraft(f"the files are of several formats ({', '.join(sorted(forms))}): draft from those of one")
    return found[0][0], [local for _, local in found]


def _dialect(path: Path) -> tuple[Dialect, dict[str, str], int]:
    """Delimiter, escape, encoding, and the lines before the header; what to say of each; how many columns."""
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    notes: dict[str, str] = {}
    encoding = _encoding(start, notes)
    text = start.decode(encoding, "replace").removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)[:1000]
    best, delimiter, skipped, names = 0.0, ",", 0, [""]
    for candidate in DELIMITERS:
        records = [(line, record) for line, record in _records(lines, candidate) if record]
        (width, count), *_ = Counter(len(record) for _, record in records).most_common(1) or [(1, 0)]
        if width > 1 and (score := count / len(records)) > best:
            best, delimiter = score, candidate
            skipped, names = next((line, record) for line, record in records if len(record) == width)
    if not best:
        skipped, names = next(((line, record) for line, record in _records(lines, ",") if record), (0, [""]))
    is_comment = bool(skipped) and all(line.startswith("#") for line in lines[:skipped])
    has_header = len(set(names)) == len(names) and not any(
        re.fullmatch(r"[\d.,:/ +-]+", name.strip()) for name in names
    )
    if not has_header:
        notes["header_rows"] = "a guess: the first line looks like data. Name the columns"
    if skipped and not is_comment:
        notes["skip_rows"] = "what stands above the header"
    return (
        replace(
            PLAIN,
            delimiter=delimiter,
            escape="\\" if '\\"' in text and '""' not in text else "",
            encoding=encoding,
            comment="#" if is_comment else "",
            skip_rows=0 if is_comment else skipped,
            header_rows=int(has_header),
        ),
        notes,
        len(names),
    )


def _records(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the line, from 0, that each begins on."""
    reader, begun = csv.reader(lines, delimiter=delimiter), 0
    try:
        for record in reader:
            yield begun, record
            begun = reader.line_num
    except csv.Error:
        return


def _encoding(start: bytes, notes: dict[str, str]) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        start.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        if error.start > len(start) - 4 and len(start) == START_BYTES:  # cut in two
            return "utf-8"
    notes["encoding"] = "a guess: it is no UTF-8. Look at letters with accents"
    return "windows-1252"


def _sample(connection: duckdb.DuckDBPyConnection, form: str, dataset: Dataset, files: Sequence[Path]) -> list[_Column]:
    """The files' columns; their first rows are the table `sample` then, with `file`, which counts them."""
    columns: dict[str, _Column] = {}
    selects = []
    for number, path in enumerate(files):
        file = columns_of(connection, path, form, dataset, MOST_COLUMNS)
        file = file.with_one_line_end(dataset.dialect) if file.may_mix_line_ends() else file
        selected: dict[str, str] = {}
        for column in file.columns:
            name = _declarable(column.name, len(selected) + 1)
            if name in selected:
                raise CsvProblem(f"column {len(selected) + 1}, {column.name[:80]!r}, is there twice")
            kind = _declared_type(column)
            selected[name] = f"CAST({column.source} AS VARCHAR) AS {quote(name)}"
            seen = columns.setdefault(name, _Column(name, column.name, kind, files=0))
            seen.files += 1
            if seen.type != kind:
                seen.type = ""
                seen.notes.append("its type differs from file to file")
        rows = f"SELECT {', '.join(selected.values())} FROM ({file.relation}) LIMIT {SAMPLE_ROWS}"
        selects.append(f"SELECT {number} AS file, * FROM ({rows})")
    if not columns:
        raise CsvProblem("it has no columns")
    connection.execute(f"CREATE TEMP TABLE sample AS {' UNION ALL BY NAME '.join(selects)}")
    for seen in columns.values():
        text = _text(seen)
        by_file = (
            f"SELECT count({text}) AS filled, count(DISTINCT {text}) AS different, count(*) AS rows"
            " FROM sample GROUP BY file"
        )
        row = connection.execute(
            f"SELECT sum(filled) = sum(rows), bool_and(different = rows AND rows > 1) FROM ({by_file})"
        ).fetchone()
        seen.is_full, seen.is_unique = (bool(value) for value in row or (False, False))
        if seen.files < len(files):
            seen.notes.append(f"in {seen.files} of {len(files)} files")
    return list(columns.values())


def _declarable(header: str, number: int) -> str:
    """A name that a declaration may have: in ASCII, a letter first."""
    name = column_name(header)
    if not re.fullmatch(r"[a-z0-9_]+", name):
        plain = unicodedata.normalize("NFKD", header.replace("ß", "ss")).encode("ascii", "ignore").decode()
        name = column_name(plain.strip() or f"column {number}")
    return name if re.match("[a-z]", name) else f"column{'' if name.startswith('_') else '_'}{name}"


def _declared_type(column: FileColumn) -> str:
    if column.holds is not Holds.typed:
        return ""
    kind = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}.get(column.type, column.type)
    return kind if kind in DLT_TYPES else type_for_new_column(column.type)


def _text(column: _Column) -> str:
    return f"NULLIF(TRIM({quote(column.name)}), '')"


class _Values:
    """The different values of a column of text, and whether all of them are of a type."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, column: _Column) -> None:
        self.connection = connection
        text = _text(column)
        self.source = f"(SELECT DISTINCT {text} AS v FROM sample WHERE {text} IS NOT NULL LIMIT {SAMPLE_VALUES})"

    def ask(self, tests: Sequence[str]) -> list[Any]:
        """Each aggregate's answer."""
        return list(self.connection.execute(f"SELECT {', '.join(tests)} FROM {self.source}").fetchone() or ())

    def fit(self, wanted: str, dialects: Sequence[Dialect]) -> list[bool]:
        """By dialect whether every value is one of the type."""
        return [bool(one) for one in self.ask([f"bool_and({fits('v', wanted, dialect)})" for dialect in dialects])]


def _with_forms(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[_Column], dialect: Dialect, notes: dict[str, str]
) -> Dialect:
    """Fill in the types of columns of text, and give the dialect the marks and formats that they are written in."""
    texts = {column.name: _Values(connection, column) for column in columns if not column.type}
    open_columns = {column.name: column for column in columns if not column.type}
    variants = [replace(dialect, decimal=decimal, thousands=thousands) for decimal, thousands in MARKS]
    numeric = {
        name: [a or b for a, b in zip(one.fit("DOUBLE", variants), one.fit("BIGINT", variants), strict=True)]
        for name, one in texts.items()
    }
    counts = [sum(of[index] for of in numeric.values()) for index in range(len(variants))]
    best = counts.index(max(counts))
    dialect = variants[best]
    others = [variants[index] for index, count in enumerate(counts) if index > best and count == counts[best]]
    if best and (other := next((one for one in others if one.decimal != dialect.decimal), None)):
        marks = f"decimal = {_string(other.decimal)}, thousands = {_string(other.thousands)}"
        notes["decimal"] = notes["thousands"] = f"a guess: {marks} fits every value too"
    for name, column in open_columns.items():
        values = texts[name]
        if numeric[name][best]:
            column.type = _number_type(values, dialect, column)
        elif values.ask(["count(*)"])[0] == 0:
            column.type = "VARCHAR"
            column.notes.append("it is empty")
        else:
            kinds = ("DATE", "TIMESTAMP", "TIME")
            tests = ["bool_and(lower(v) IN ('true', 'false'))", *(f"bool_and({fits('v', kind)})" for kind in kinds)]
            found = values.ask([*tests, "bool_and(regexp_full_match(v, '[0-9]+')) AND bool_or(starts_with(v, '0'))"])
            column.type = next((kind for kind, fit in zip(("BOOLEAN", *kinds), found, strict=False) if fit), "")
            if not column.type and found[-1]:
                column.notes.append("digits with zeros in front: a code")
    return _with_times([column for column in columns if not column.type], texts, dialect, notes)


def _number_type(values: _Values, dialect: Dialect, column: _Column) -> str:
    if values.fit("BIGINT", [dialect])[0]:
        return "BIGINT"
    text = dialect.number("v")
    scale = values.ask([f"max(length(split_part({text}, '.', 2)))", f"bool_or(contains(lower({text}), 'e'))"])
    if 0 < scale[0] <= 2 and not scale[1]:
        column.notes.append("or DOUBLE, which takes more digits behind the point")
        return "DECIMAL(18,2)"
    return "DOUBLE"


def _with_times(
    columns: Sequence[_Column], texts: Mapping[str, _Values], dialect: Dialect, notes: dict[str, str]
) -> Dialect:
    """The formats that most columns' dates and times have; what has none is text."""
    looks = "bool_and(length(v) BETWEEN 6 AND 40 AND regexp_matches(v, '[0-9]') AND regexp_matches(v, '[^0-9]'))"
    likely = [column for column in columns if texts[column.name].ask([looks])[0]]
    days = [replace(dialect, date_format=day) for day in DAYS]
    moments = [replace(dialect, timestamp_format=f"{day} {time}") for day in DAYS for time in TIMES]
    for wanted, forms, name in (("DATE", days, "date_format"), ("TIMESTAMP", moments, "timestamp_format")):
        fitting = {column.name: texts[column.name].fit(wanted, forms) for column in likely if not column.type}
        counts = [sum(of[index] for of in fitting.values()) for index in range(len(forms))]
        if not max(counts, default=0):
            continue
        best = counts.index(max(counts))
        form = getattr(forms[best], name)
        dialect = replace(dialect, **{name: form})
        if others := [
            getattr(forms[index], name) for index, n in enumerate(counts) if index != best and n == counts[best]
        ]:
            notes[name] = f"a guess: {_string(others[0])} fits every value too"
        for column in likely:
            if not column.type and fitting[column.name][best]:
                column.type = wanted
    for column in columns:
        column.type = column.type or "VARCHAR"
    return dialect


def _toml(
    entity: str, names: Sequence[str], dialect: Dialect, notes: Mapping[str, str], columns: Sequence[_Column]
) -> str:
    """The declaration's text."""
    times = sorted(
        (column for column in columns if column.type in ("DATE", "TIMESTAMP", "TIMESTAMPTZ")),
        key=lambda column: (not column.is_full, not _MOMENT.search(column.name), column.type == "DATE"),
    )
    unique = [column.name for column in columns if column.is_full and column.is_unique and column.type != "DOUBLE"]
    keys = sorted(unique, key=lambda name: not _KEY.search(name))
    seen = f"{len(names)} file{'s' if len(names) > 1 else ''}: at most {SAMPLE_ROWS:,} rows of each"
    lines = [
        f"# Drafted from {seen} were looked at. Look through it; whatever a comment says is a guess.",
        f"entity = {_string(entity)}",
        f"description = {_string(f'{entity.capitalize()}. One row per …')} # say what a row is",
        f"pattern = {_string(pattern_of(names))} # which files are these",
    ]
    if times:
        others = ", ".join(column.name for column in times[1:])
        lines.append(f"event_time = {_string(times[0].name)}" + (f" # or {others}" if others else ""))
    else:
        lines.append("# event_time: no column is a time, so each change makes everything due that reads the table")
    if keys:
        others = ", ".join(keys[1:6])
        is_sure = _KEY.search(keys[0])
        note = "unique in what was looked at" + (f", as are {others}" if others else "")
        lines.append(f"{'' if is_sure else '# '}key = [{_string(keys[0])}] # {note}")
    for one in fields(Dialect):
        value = getattr(dialect, one.name)
        if value != one.default:
            shown = value if isinstance(value, int) else _string(value)
            lines.append(f"{one.name} = {shown}" + (f" # {notes[one.name]}" if one.name in notes else ""))
    lines += ["", "[columns]"]
    needed = {times[0].name} if times and times[0].is_full else set()
    needed |= {keys[0]} if keys and _KEY.search(keys[0]) else set()
    for column in columns:
        hints = [f"type = {_string(column.type)}"]
        if column.name in needed and not any("files" in note for note in column.notes):
            hints.append("required = true")
        elif column.files < max(other.files for other in columns):
            hints.append("required = false")
        if column_name(column.header) != column.name:
            hints.append(f"aliases = [{_string(column.header)}]")
        hints.append(f"description = {_string(column.header + '.')}")
        note = f" # {'; '.join(dict.fromkeys(column.notes))}" if column.notes else ""
        lines.append(f"{column.name} = {{ {', '.join(hints)} }}{note}")
    return "\n".join(lines) + "\n"


def pattern_of(names: Sequence[str]) -> str:
    """What the names share, up to the first digit."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in same).partition(".")[0]
    return re.split(r"\d", common)[0].replace("[", "?") + "*"


def _string(text: str) -> str:
    """A TOML string: as JSON's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
