"""A release's manifest: every served table with its files, as JSON beside the frozen catalog."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lakehouse.releases.held import HeldBack
from lakehouse.releases.log import Release, environment_folder
from lakehouse.storage import NotThereError, Storage

FORMAT = 1


@dataclass(frozen=True)
class PublishedFile:
    """One immutable Parquet file. `path` is relative to its table's folder."""

    path: str
    rows: int
    size_bytes: int
    partition: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedTable:
    """A served table of one release."""

    name: str  # schema.table
    content: str
    physical_table: str
    columns: tuple[tuple[str, str, str], ...]  # name, DuckDB type, description
    files: tuple[PublishedFile, ...]
    description: str = ""
    partitioned_by: tuple[str, ...] = ()
    group: str = ""  # the first of the tables that it moved with: they are all of one snapshot
    snapshot: int = 0  # of the lake; 0 in releases from before there were groups: the release's own
    as_of: str = ""  # when that was cut, UTC
    owner: str = ""  # who answers for it, as the model says
    grain: tuple[str, ...] = ()  # the columns that tell its rows apart
    cron: str = ""  # how often it is computed anew
    checks: tuple[Mapping[str, Any], ...] = ()  # name, audit, blocking, result, at

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> PublishedTable:
        """From JSON."""
        return cls(
            **{
                **stored,
                "columns": tuple((name, kind, text) for name, kind, text in stored["columns"]),
                "files": tuple(PublishedFile(**file) for file in stored["files"]),
                "partitioned_by": tuple(stored["partitioned_by"]),
                "grain": tuple(stored.get("grain", ())),
                "checks": tuple(stored.get("checks", ())),
            }
        )


Lineage = Mapping[str, Mapping[str, Sequence[Sequence[str]]]]
"""Table -> column -> the (table, column) that it is computed from, of all tables between raw and served ones."""


@dataclass(frozen=True)
class Manifest:
    """One published release."""

    environment: str
    number: int
    snapshot: int
    code_version: str
    run: str
    author: str
    cut_at: str
    changed: tuple[str, ...]
    tables: tuple[PublishedTable, ...]
    format: int = FORMAT
    held: tuple[Mapping[str, Any], ...] = ()  # groups that stayed as they were: tables, reasons, since
    lineage: Lineage = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)  # of the dashboard: name -> text

    @classmethod
    def of(
        cls, release: Release, tables: tuple[PublishedTable, ...], held: Sequence[HeldBack] = (),
        lineage: Lineage | None = None,
    ) -> Manifest:  # fmt: skip
        """What there is to say of a release whose files are written."""
        return cls(
            release.environment, release.number, release.snapshot, release.code_version, release.run, release.author,
            release.cut_at.isoformat() + "Z", release.changed, tables, held=tuple(one.record() for one in held),
            lineage=lineage or {}, pages=release.pages,
        )  # fmt: skip

    def find(self, name: str) -> PublishedTable | None:
        """A table by its `schema.table`."""
        return next((table for table in self.tables if table.name == name), None)

    def keys(self) -> set[str]:
        """The storage's keys of every file that this release needs."""
        return {
            f"{table_folder(self.environment, table.name)}{file.path}" for table in self.tables for file in table.files
        }


def data_folder(environment: str) -> str:
    """Where an environment's Parquet files lie; ends in `/`."""
    return f"{environment_folder(environment)}/data/"


def table_folder(environment: str, name: str) -> str:
    """Where a table's files lie; ends in `/`."""
    return f"{data_folder(environment)}{name.replace('.', '/', 1)}/"


def write_manifest(storage: Storage, folder: str, manifest: Manifest) -> None:
    """Put it into the release's folder."""
    storage.write(f"{folder}/manifest.json", json.dumps(asdict(manifest), indent=1).encode())


def read_manifest(storage: Storage, folder: str) -> Manifest | None:
    """The manifest in a release's folder; None when there is none (any more)."""
    try:
        content, _ = storage.read(f"{folder}/manifest.json")
    except NotThereError:
        return None
    stored = json.loads(content)
    return Manifest(
        **{
            **stored,
            "changed": tuple(stored["changed"]),
            "tables": tuple(PublishedTable.of(table) for table in stored["tables"]),
            "held": tuple(stored.get("held", ())),
        }
    )
