"""A backup's manifest: what was taken, when and of what, with the checksum of every file. Written last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lakehouse.errors import LakehouseError

FORMAT = 1
LISTED = 20


class BackupError(LakehouseError):
    """A backup can't be made, found or restored; the message says which, why and what to do."""


@dataclass(frozen=True)
class Content:
    """Bytes that a backup keeps, under the name of their SHA-256."""

    sha256: str
    size_bytes: int

    @property
    def key(self) -> str:
        """Where they lie, below the backup's place."""
        return f"files/{self.sha256[:2]}/{self.sha256}"


@dataclass(frozen=True)
class BackupFile(Content):
    """A file of the storage: `key` there is `name` here. The etag tells whether it has changed since."""

    name: str = ""
    etag: str = ""


@dataclass(frozen=True)
class WorkingFiles(Content):
    """A dlt pipeline's working folder as one tar archive."""

    pipeline: str = ""


@dataclass(frozen=True)
class BackupManifest:
    """One backup. A folder without a manifest is none."""

    stamp: str  # 20261121T161500Z
    lakehouse_version: str
    postgres_version: int  # major
    storage: str  # its URI then
    snapshot: int  # the lake's newest
    unfinished: tuple[str, ...]  # marks: work that was under way, which the restored lake's next run repairs
    pipelines_at_work: tuple[str, ...]  # their working folders are left out: dlt takes its state from the lake
    missing: tuple[str, ...]  # files that the catalog or a release names and the storage had lost
    with_files: bool
    database: Content
    working_files: tuple[WorkingFiles, ...]
    files: tuple[BackupFile, ...]
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        """Of everything that it names, shared with other backups or not."""
        return sum(content.size_bytes for content in (self.database, *self.working_files, *self.files))

    def kept(self) -> list[Content]:
        """The contents that lie in the backup's place."""
        return [self.database, *self.working_files, *(self.files if self.with_files else ())]

    def to_json(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def of(cls, content: bytes, where: str) -> BackupManifest:
        """From JSON. Raises BackupError when it is none, or a newer format."""
        try:
            stored: dict[str, Any] = json.loads(content)
            if stored["format"] > FORMAT:
                raise BackupError(
                    f"{where} was written by a newer lakehouse ({stored['lakehouse_version']}): use that one."
                )
            texts = {name: tuple(stored[name]) for name in ("unfinished", "pipelines_at_work", "missing")}
            return cls(
                **{
                    **stored,
                    **texts,
                    "database": Content(**stored["database"]),
                    "working_files": tuple(WorkingFiles(**one) for one in stored["working_files"]),
                    "files": tuple(BackupFile(**one) for one in stored["files"]),
                }
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(
                f"{where} is damaged ({type(error).__name__}): this backup can't be used; delete its folder."
            ) from error


def listed(lines: Sequence[str]) -> str:
    """A line each, indented, as messages show them; not all of very many."""
    more = [f"and {len(lines) - LISTED:,} more"] if len(lines) > LISTED else []
    return "\n".join(f"  {line}" for line in [*lines[:LISTED], *more])
