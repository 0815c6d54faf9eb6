"""The releases: each manifest and frozen catalog is there and fits, and the pointer says what the log says."""

from __future__ import annotations

import json
from contextlib import closing

import duckdb
import psycopg

from lakehouse.lake.ducklake import Lake, create_secret, identifier
from lakehouse.releases import log
from lakehouse.releases.frozen import CATALOG, attach_statement
from lakehouse.releases.log import Release
from lakehouse.releases.manifest import Manifest, read_manifest
from lakehouse.releases.pointer import read_pointer
from lakehouse.upkeep.backup.named_files import NamedFile, published, release_files
from lakehouse.upkeep.verify.finding import Findings

REPAIRED = "The daemon's release_sensor repairs it; `dagster job execute -j publish_release` does it at once."


def check_releases(lake: Lake, connection: psycopg.Connection, findings: Findings, *, fast: bool) -> list[NamedFile]:
    """Look at every release that readers can ask for. Gives the files that they need, each once."""
    files: dict[str, NamedFile] = {}
    for release in published(connection):
        findings.looked_at["release"] += 1
        manifest = _manifest(lake, release, findings)
        if manifest is None:
            continue
        for file in release_files(release, manifest):
            files.setdefault(file.address, file)
        if {table.name for table in manifest.tables} != {table.name for table in release.tables}:
            findings.add(
                f"{release.folder}/manifest.json", f"names other tables than the release log has for {release}",
                f"`lakehouse restore PLACE --file {release.folder}/manifest.json` puts it back from a backup.",
            )  # fmt: skip
        _check_groups(release, manifest, findings)
        key = f"{release.folder}/{CATALOG}"
        if lake.storage.find(key) is None:
            findings.add(key, f"missing: nobody can attach {release}", _rebuild(key))
        elif not fast:
            _check_catalog(lake, release, manifest, findings)
    for environment in sorted({release.environment for release in log.history(connection)}):
        _check_pointer(lake, connection, environment, findings)
    for release in log.candidates(connection):
        if not lake.has_snapshot(release.snapshot):
            findings.note(str(release), f"waits to be published, and its snapshot {release.snapshot} is gone", REPAIRED)
    return list(files.values())


def _check_groups(release: Release, manifest: Manifest, findings: Findings) -> None:
    """Tables that share what they are made of are all of one snapshot."""
    at: dict[str, set[int]] = {}
    for table in manifest.tables:
        at.setdefault(table.group, set()).add(table.snapshot)
    for group, snapshots in at.items():
        if group and len(snapshots) > 1:
            findings.add(
                f"{release.folder}/manifest.json", f"{group} and the tables bound to it are of several snapshots",
                f"`lakehouse rollback {release.environment}` gives readers an earlier release.",
            )  # fmt: skip


def _manifest(lake: Lake, release: Release, findings: Findings) -> Manifest | None:
    key = f"{release.folder}/manifest.json"
    problem = "missing"
    try:
        if manifest := read_manifest(lake.storage, release.folder):
            return manifest
    except (ValueError, KeyError, TypeError) as error:
        problem = f"damaged ({type(error).__name__})"
    findings.add(
        key, f"{problem}: nobody knows which files {release} has",
        f"`lakehouse restore PLACE --file {key}` puts it back from a backup.",
    )  # fmt: skip
    return None


def _check_catalog(lake: Lake, release: Release, manifest: Manifest, findings: Findings) -> None:
    """Attach it as readers do, and count the rows of each table."""
    key = f"{release.folder}/{CATALOG}"
    with closing(duckdb.connect(config=lake.duckdb_config())) as connection:
        try:
            for secret in lake.duckdb_secrets():
                connection.execute(create_secret(secret))
            connection.execute(attach_statement(lake.storage, release.folder, "release"))
        except duckdb.Error as error:
            findings.add(key, f"can't be attached: {str(error).splitlines()[0]}", _rebuild(key))
            return
        for table in manifest.tables:
            name = ".".join(identifier(part) for part in ("release", *table.name.split(".", 1)))
            try:
                row = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
            except duckdb.Error as error:
                findings.add(key, f"{table.name} can't be read: {str(error).splitlines()[0]}", _rebuild(key))
                continue
            if row and row[0] != table.rows:
                findings.add(
                    key, f"{table.name} has {row[0]:,} rows in it, {table.rows:,} in the manifest", _rebuild(key)
                )


def _check_pointer(lake: Lake, connection: psycopg.Connection, environment: str, findings: Findings) -> None:
    pointer = log.pointer(connection, environment)
    where = f"published/{environment}/current.json"
    try:
        said = read_pointer(lake.storage, environment)
        number, held = (said["release"], bool(said["held"])) if said else (None, False)
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        findings.add(where, "damaged: readers can't follow it", REPAIRED)
        return
    wanted = pointer.number if pointer else None
    if number != wanted:
        findings.add(where, f"gives readers {_release(number)}, the release log {_release(wanted)}", REPAIRED)
    elif held != bool(pointer and pointer.held_by):
        findings.add(where, "and the release log disagree on whether readers are held", REPAIRED)


def _release(number: int | None) -> str:
    return f"release {number}" if number else "none"


def _rebuild(key: str) -> str:
    return f"`lakehouse restore PLACE --file {key}` builds it again from the release's manifest."
