"""What lies in the landing zone and what became of it; earlier versions come back, files go."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from lakehouse.errors import LakehouseError
from lakehouse.landing import landed
from lakehouse.landing.landed import LandedVersion, LoadState
from lakehouse.landing.zones import LANDING, QUARANTINE, is_loadable, landing_files, landing_key
from lakehouse.storage import Storage, StoredObject


class LandingError(LakehouseError):
    """No such file or version; the message says what there is."""


@dataclass(frozen=True)
class FileEntry:
    """A file, or one version of it. `state` is one word of its load, `detail` the rest of the sentence."""

    key: str
    state: str
    detail: str = ""
    size_bytes: int | None = None
    at: float | None = None  # when it landed, seconds since 1970; for one that is gone, when a load noticed
    rows: int | None = None
    version: str = ""
    is_latest: bool = True


def files(storage: Storage, connection: psycopg.Connection, dataset: str) -> list[FileEntry]:
    """A dataset's files: loaded, waiting or refused, quarantined, and those that are gone."""
    known = landed.states(connection, dataset)
    lying = landing_files(storage, dataset)
    entries = [_entry(file, known.get(landing_key(file))) for file in lying]
    there = {entry.key for entry in entries}
    entries += [_gone(key, state) for key, state in known.items() if key not in there and state.rows is not None]
    reasons = landed.quarantined(connection, dataset)
    for file in storage.list(f"{QUARANTINE}/{dataset}/"):
        reason = reasons.get(file.key.removeprefix(f"{QUARANTINE}/"), "nobody wrote down why")
        entries.append(FileEntry(file.key, "quarantined", reason, file.size_bytes, file.modified_at))
    return sorted(entries, key=lambda entry: entry.key)


def versions(storage: Storage, connection: psycopg.Connection, dataset: str) -> list[FileEntry]:
    """Every version that the storage keeps of a dataset's files, the newest of each first."""
    current = {entry.key: entry for entry in files(storage, connection, dataset)}
    history = landed.history(connection, dataset)
    return [
        _version(version, current.get(landing_key(version)), history.get((landing_key(version), version.etag)))
        for version in _kept(storage, dataset)
    ]


def restore(storage: Storage, key: str, version: str) -> StoredObject:
    """Make an earlier version the current one; the next load then replaces the file's rows.

    `key` is `dataset/file`, `version` may be cut short where that is enough. Raises LandingError, StorageError.
    """
    key = key.removeprefix(f"{LANDING}/")
    dataset = key.partition("/")[0]
    every = [kept for kept in _kept(storage, dataset) if not kept.is_deletion]
    mine = [kept for kept in every if landing_key(kept) == key]
    if not mine:
        raise LandingError(f"No version of {key} is kept.{_near(key, {landing_key(kept) for kept in every}, dataset)}")
    found = [kept for kept in mine if kept.version.startswith(version)]
    exact = [kept for kept in found if kept.version == version] or found
    if not version or len(exact) != 1:
        problem = "is no version" if not found else "is the beginning of several versions"
        raise LandingError(f"{version or 'nothing'} {problem} of {key}: {', '.join(kept.version for kept in mine)}.")
    if exact[0].is_latest:
        raise LandingError(f"Version {exact[0].version} of {key} is the current one already.")
    storage.copy(f"{LANDING}/{key}", f"{LANDING}/{key}", exact[0].version)
    return exact[0]


def find(storage: Storage, key: str) -> StoredObject:
    """A file by `dataset/file` or, in quarantine, `quarantine/dataset/file`. Raises LandingError, StorageError."""
    key = key.removeprefix(f"{LANDING}/")
    in_quarantine = key.startswith(f"{QUARANTINE}/")
    found = storage.find(key if in_quarantine else f"{LANDING}/{key}")
    if found is None:
        dataset = key.removeprefix(f"{QUARANTINE}/").partition("/")[0]
        zone = QUARANTINE if in_quarantine else LANDING
        keys = {file.key.removeprefix(f"{LANDING}/") for file in storage.list(f"{zone}/{dataset}/")}
        raise LandingError(f"There is no file {key}.{_near(key, keys, dataset)}")
    return found


def delete(storage: Storage, connection: psycopg.Connection, file: StoredObject) -> None:
    """Delete a file, out of quarantine too. A landed one stays as a version."""
    storage.delete([file.key])
    if file.key.startswith(f"{QUARANTINE}/"):
        landed.release_from_quarantine(connection, file.key.removeprefix(f"{QUARANTINE}/"))


def _entry(file: StoredObject, known: LoadState | None) -> FileEntry:
    state, detail = "loaded", ""
    rows = known.rows if known else None
    if known is None or known.etag != file.etag:
        state, detail = "waiting", "an earlier version is loaded" if rows else ""
    elif known.refusal:
        state, detail = "refused", known.refusal
    elif known.lacking and rows:
        detail = f"without {', '.join(known.lacking)}: NULL in all its rows"
    return FileEntry(landing_key(file), state, detail, file.size_bytes, file.modified_at, rows)


def _gone(key: str, state: LoadState) -> FileEntry:
    detail = "its rows went with it" if state.etag == landed.GONE else "its rows are in the lake"
    return FileEntry(key, "gone", detail, None, state.recorded_at, state.rows)


def _version(version: StoredObject, current: FileEntry | None, known: LandedVersion | None) -> FileEntry:
    state, detail = ("refused", known.refusal) if known and known.refusal else ("loaded" if known else "waiting", "")
    if version.is_deletion:
        state, detail = "deleted", ""
    elif version.is_latest and current:
        state, detail = current.state, current.detail
    elif not version.is_latest:
        state, detail = "replaced", f"was {state}" if known else "was never loaded"
        detail += f": {known.refusal}" if known and known.refusal else ""
    rows = known.rows if known else None
    size = None if version.is_deletion else version.size_bytes
    return FileEntry(
        landing_key(version), state, detail or "", size, version.modified_at, rows, version.version, version.is_latest
    )


def _kept(storage: Storage, dataset: str) -> Iterator[StoredObject]:
    folder = f"{LANDING}/{dataset}/"
    return (kept for kept in storage.versions(folder) if is_loadable(kept.key.removeprefix(folder)))


def _near(key: str, keys: set[str], dataset: str) -> str:
    near = difflib.get_close_matches(key, keys, n=1)
    return f" Did you mean {near[0]}?" if near else f" `lakehouse files {dataset}` lists what there is."
