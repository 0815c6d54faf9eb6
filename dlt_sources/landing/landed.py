"""Files of the landing zone, the datasets that they belong to, and what became of them in a load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from dlt_sources.landing.dialect import PLAIN, Dialect
from dlt_sources.landing.tables import LOAD_ID, Column, Table
from dlt_sources.landing.unpacking import format_of

FORMATS = ("csv", "json", "jsonl", "ndjson", "xlsx", "parquet", "orc", "avro")
WHEN_DELETED = ("keep_rows", "delete_rows")

SOURCE_FILE = Column("source_file", "VARCHAR", "The landing file that this row came from.")
SOURCE_ROW = Column("source_row", "BIGINT", "Row of that file: 1 is the first row of data.")


def printable(text: str) -> str:
    """`text` as a terminal can show it: what would move its cursor, or is no character, is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def local_name(name: str) -> str:
    """What a file of this name is called while it is read: its ending says how."""
    return "landed." + ".".join(part for part in format_of(name) if part)


@dataclass(frozen=True)
class LandedFile:
    """One file of the landing zone: `<dataset>/<file>`, where it can be read, and what version it is.

    `etag` changes whenever the content does; an absolute path or an s3:// address is the `uri`.
    """

    key: str
    uri: str
    etag: str

    @property
    def name(self) -> str:
        """The key below its dataset: what `source_file` holds."""
        return self.key.partition("/")[2]


@dataclass(frozen=True)
class Dataset:
    """The declaration of files that become one raw table: all that a new dataset needs.

    `columns` are the file's; which file and row a row came from is added. `event_time` says when a row happened: where
    none does (a list of products), a change makes everything due that reads the table. `formats` are file endings,
    `dialect` says how text is written in them. `key` names columns that tell the rows of one file apart: a file in
    which two rows share it is refused. A file that goes from the landing zone leaves its rows
    (`when_deleted="keep_rows"`) or takes them along (`"delete_rows"`). Rows stay unless the dataset says otherwise:
    whoever tidies the landing zone up must not empty the lake by it.
    """

    name: str
    entity: str
    description: str
    pattern: str
    columns: tuple[Column, ...]
    event_time: str | None = None
    formats: tuple[str, ...] = FORMATS
    dialect: Dialect = PLAIN
    key: tuple[str, ...] = ()
    when_deleted: str = "keep_rows"

    @property
    def table(self) -> Table:
        """The raw table `<name>__<entity>`: one row per row of a file."""
        return Table(
            name=f"{self.name}__{self.entity}",
            description=self.description,
            columns=(*self.columns, SOURCE_FILE, SOURCE_ROW, LOAD_ID),
            key=(SOURCE_FILE.name, SOURCE_ROW.name),
            event_time=self.event_time,
            fields={column.name: (column.name, *column.aliases) for column in self.columns},
        )

    def refusal(self, file_name: str) -> str | None:
        """Why a file of this name is none of the dataset's; None when it is."""
        name = PurePosixPath(file_name)
        if not file_name.isprintable():
            return "the name holds characters that can't be printed"
        if "\\" in file_name:
            return "the name holds a backslash, which some object stores take for a folder, or bytes that are no UTF-8"
        if str(name) != file_name:
            return "the name holds an empty folder or a dot for one: other programs take it for another file's"
        if any(part.startswith((".", "_")) for part in name.parts):
            return "names that begin with . or _ are never loaded"
        form, compression = format_of(name.name)
        if form not in self.formats and not (form not in FORMATS and compression == "zip"):
            endings = ", ".join("." + one for one in self.formats)
            return f"the name ends in none of {endings}, nor in one of these and .gz, .zst or .zip"
        plain = name.name[: -len(compression) - 1] if compression else name.name
        if not fnmatchcase(name.name, self.pattern) and not fnmatchcase(plain, self.pattern):
            return f"the name does not match {self.pattern}"
        return None

    def refusal_of_emptied(self) -> str:
        """Why a file that brought rows may not come again without any, and what to do."""
        if self.when_deleted == "delete_rows":
            return "it holds no rows any more; its earlier rows stay: delete it instead, and they go"
        return "it holds no rows any more; its earlier rows stay, and would if it were deleted (when_deleted)"


class LandedFileError(Exception):
    """A landed file that could not be loaded; its earlier rows, if any, stay as they were.

    `unreachable` means that nobody could look at it: the same version may load another time.
    """

    def __init__(self, file: LandedFile, reason: str, *, unreachable: bool = False) -> None:
        self.file = file
        self.reason = reason
        self.unreachable = unreachable
        super().__init__(f"{printable(file.key)}: {reason}")


class LandedFilesError(Exception):
    """At least one landed file could not be loaded; every other file was."""

    def __init__(self, failures: Sequence[LandedFileError], loaded: int) -> None:
        self.failures = list(failures)
        lines = "\n".join(f"  {failure}" for failure in self.failures)
        super().__init__(
            f"{len(self.failures)} of {len(self.failures) + loaded} new or changed files could not be loaded"
            f" ({loaded} loaded):\n{lines}\n"
            "Correct a file under the same name, or take it away, then materialize again."
        )


@dataclass
class LandingReport:
    """What one load did with the files that it was given. Filled while the source is extracted."""

    loaded: dict[str, int] = field(default_factory=dict)
    """File name -> rows, of the files that were new or changed."""
    unchanged: dict[str, int] = field(default_factory=dict)
    """File name -> rows, of those that were loaded before as they are."""
    lacking: dict[str, list[str]] = field(default_factory=dict)
    """File name -> the declared columns that a loaded file doesn't have: all its rows are NULL there."""
    failures: list[LandedFileError] = field(default_factory=list)

    def raise_failures(self) -> None:
        """Raise LandedFilesError when a file could not be loaded: call it after the load."""
        if self.failures:
            raise LandedFilesError(self.failures, len(self.loaded))
