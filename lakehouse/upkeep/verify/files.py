"""The files: there, of the right size, readable to the last page, and still what they were when first read."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.storage import NotThereError, StoredObject
from lakehouse.storage.folder import FolderStorage
from lakehouse.upkeep.backup import checksums
from lakehouse.upkeep.backup.manifest import Content
from lakehouse.upkeep.backup.named_files import NamedFile
from lakehouse.upkeep.verify.finding import Findings, Progress
from lakehouse.wording import plural

AT_ONCE = 4


def check_files(
    lake: Lake,
    connection: psycopg.Connection,
    files: Iterable[NamedFile],
    listed: Mapping[str, StoredObject],
    recorded: Mapping[str, Content],
    findings: Findings,
    *,
    fast: bool,
    progress: Progress,
) -> None:
    """Look at every named file; unless `fast`, read it whole.

    `listed` is what lay in the storage before the names were read: who was not there yet is looked for again.
    The checksums of good files are recorded where nobody has read them before.
    """
    whole: dict[str, NamedFile] = {}
    for file in files:
        findings.looked_at["file"] += 1
        if file.key is None:
            findings.add(
                file.address, f"{file.owner} has a file outside of {lake.settings.storage_uri}",
                "No backup has it. Copy the table anew: CREATE TABLE … AS FROM it, then drop it.",
            )  # fmt: skip
        elif (found := listed.get(file.key) or lake.storage.find(file.key)) is None:
            findings.add(file.key, f"missing; {_needed(file)}", _put_back(file.key))
        elif found.size_bytes != file.size_bytes:
            findings.add(
                file.key, f"has {found.size_bytes:,} bytes instead of {file.size_bytes:,}; {_needed(file)}",
                _put_back(file.key),
            )  # fmt: skip
        else:
            whole[file.key] = file
    if fast:
        return
    read = _read_all(lake, whole, recorded, findings, progress)
    checksums.record(connection, read)


def check_orphans(
    connection: psycopg.Connection, named: Iterable[NamedFile], listed: Mapping[str, StoredObject], findings: Findings
) -> None:
    """Count the lake's files that nothing names: no error, but space."""
    known = {file.key for file in named}
    waiting = {
        str(path).rpartition("/")[2]
        for (path,) in connection.execute(
            f"SELECT path FROM {METADATA_SCHEMA}.ducklake_files_scheduled_for_deletion"
        ).fetchall()
    }
    orphans = [
        file
        for key, file in listed.items()
        if key.startswith("lake/") and key not in known and key.rpartition("/")[2] not in waiting
    ]
    if orphans:
        size = sum(file.size_bytes for file in orphans)
        findings.note(
            "lake/", f"{plural(len(orphans), 'file')} ({size:,} bytes) that no table names",
            "A writer is at work or was killed; maintenance deletes them when they are two days old.",
        )  # fmt: skip


def _read_all(
    lake: Lake, files: Mapping[str, NamedFile], recorded: Mapping[str, Content], findings: Findings, progress: Progress
) -> dict[str, Content]:
    """Read every file, several at a time. Gives the good ones' contents."""
    good: dict[str, Content] = {}
    done, total = 0, sum(file.size_bytes for file in files.values())
    with closing(duckdb.connect(config=lake.duckdb_config())) as engine, ThreadPoolExecutor(AT_ONCE) as pool:

        def read(file: NamedFile) -> tuple[NamedFile, Content | None, str]:
            with engine.cursor() as cursor:
                return file, *_read(lake, cursor, file, recorded.get(str(file.key)))

        for file, content, problem in pool.map(read, files.values()):
            if problem:
                findings.add(str(file.key), f"{problem}; {_needed(file)}", _put_back(str(file.key)))
            elif content:
                good[str(file.key)] = content
            findings.looked_at["bytes"] += file.size_bytes
            done += file.size_bytes
            progress(done, total)
    return good


def _read(
    lake: Lake, engine: duckdb.DuckDBPyConnection, file: NamedFile, recorded: Content | None
) -> tuple[Content | None, str]:
    """A file's content, and what is wrong with it."""
    key = str(file.key)
    with tempfile.TemporaryDirectory(prefix="lakehouse-verify-") as aside:
        try:
            if isinstance(lake.storage, FolderStorage):
                path = lake.storage.root / key
            else:
                path = Path(aside) / "file.parquet"
                lake.storage.download(key, path)
            with open(path, "rb") as opened:
                content = Content(hashlib.file_digest(opened, "sha256").hexdigest(), file.size_bytes)
        except (NotThereError, OSError) as error:
            return None, f"can't be read: {error}"
        try:
            # Every value of every column is decoded: counting alone would read the footer only.
            row = engine.execute(
                "SELECT count(*), bit_xor(hash(_the_row)) FROM read_parquet(?, hive_partitioning => false) AS _the_row",
                [str(path)],
            ).fetchone()
        except duckdb.Error as error:
            return None, f"is no readable Parquet: {str(error).splitlines()[0]}"
    if recorded and recorded.sha256 != content.sha256:
        return None, f"its bytes are others than when it was first read (SHA-256 {recorded.sha256[:12]}… then)"
    if row and file.rows is not None and row[0] != file.rows:
        return None, f"holds {row[0]:,} rows instead of {file.rows:,}"
    return content, ""


def _needed(file: NamedFile) -> str:
    return f"{file.owner} needs it" if file.is_current else f"earlier snapshots of {file.owner} need it"


def _put_back(key: str) -> str:
    zone = key.split("/")
    if zone[0] == "published":
        other = f"Until then `lakehouse rollback {zone[1]}` gives its readers a release that is whole."
    elif zone[1:2] == ["raw"]:
        other = "Without a backup its rows are lost: `lakehouse files` shows what could be loaded again."
    else:
        other = "Without a backup: compute the model's days again in Dagster."
    return f"`lakehouse restore PLACE --file {key}` puts it back from a backup. {other}"
