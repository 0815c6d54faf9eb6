"""Publishing, holding and keeping releases: what the release log says becomes what readers get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import approval, held, log
from lakehouse.releases.frozen import write_catalog
from lakehouse.releases.kept import require_kept
from lakehouse.releases.log import Release, ReleaseError, docs_folder, environment_folder
from lakehouse.releases.manifest import (
    Lineage,
    Manifest,
    PublishedTable,
    data_folder,
    read_manifest,
    write_manifest,
)
from lakehouse.releases.pointer import swap_pointer
from lakehouse.releases.tables import PublishError
from lakehouse.storage import StorageError
from lakehouse.writing.loads import Report
from lakehouse.writing.locks import Lock, holding, maintenance_lock, trying

FAILURES_BEFORE_GIVING_UP = 5
"""Of publishing one release, the storage being well: more than the retries of one run."""


def publishing_lock(environment: str) -> Lock:
    """One publisher an environment. Taken before every other lock: a publisher may cut a release that was put off."""
    return Lock("0 publishing", environment)


@contextmanager
def publishing(
    lake: Lake, environment: str, *, run: str, report: Report = lambda _: None
) -> Iterator[psycopg.Connection]:
    """Be the environment's one publisher."""
    with holding(lake.settings, [publishing_lock(environment)], holder=run, waiting=report) as connection:
        yield connection


def last_manifest(lake: Lake, connection: psycopg.Connection, environment: str) -> Manifest | None:
    """Of the environment's newest published release."""
    newest = log.newest(connection, environment, "published")
    return read_manifest(lake.storage, newest.folder) if newest else None


def same_content_elsewhere(lake: Lake, connection: psycopg.Connection, release: Release) -> Manifest | None:
    """The published release of another environment that shares most with `release`, if any does."""
    wanted = {table.content for table in release.tables}
    best: tuple[int, Release] | None = None
    for environment in sorted({other.environment for other in log.history(connection)} - {release.environment}):
        newest = log.newest(connection, environment, "published")
        shared = len(wanted & {table.content for table in newest.tables}) if newest else 0
        if newest and shared and (best is None or shared > best[0]):
            best = (shared, newest)
    return read_manifest(lake.storage, best[1].folder) if best else None


def complete(
    lake: Lake, connection: psycopg.Connection, release: Release, tables: tuple[PublishedTable, ...],
    lineage: Lineage | None = None,
) -> Manifest:  # fmt: skip
    """All files of a release are written: see that the store has them, then write its manifest and its catalog, then
    its row, then the pointer."""
    connection.execute("SELECT")  # its locks may be lost, and another publisher be at it
    require_kept(lake.storage, release.environment, tables)
    left = {table.name for table in release.tables if table.snapshot}
    back = [one for one in held.read(connection, release.environment) if left & set(one.tables)]
    manifest = Manifest.of(release, tables, back, lineage)
    write_manifest(lake.storage, release.folder, manifest)
    write_catalog(lake, release.folder, manifest)
    log.published(connection, release, needs_approval=lake.settings.release_approval and release.environment == "prod")
    swap_pointer(lake.storage, connection, release.environment)
    return manifest


def next_candidate(lake: Lake, connection: psycopg.Connection, environment: str, report: Report) -> Release | None:
    """The oldest release that waits to be published. Those whose snapshot is gone are given up, and told."""
    for release in log.candidates(connection, environment):
        gone = _expired(lake, connection, release)
        if not gone:
            return release
        report(_give_up(connection, release, gone))
    return None


def explain_failure(lake: Lake, connection: psycopg.Connection, release: Release, error: Exception) -> str:
    """Why publishing this release failed and what becomes of it, in sentences.

    While the storage is away it waits. Else it is given up when its snapshot is gone, or after several failures, so
    that it does not hold up the releases after it.
    """
    reason = str(error).strip() or type(error).__name__
    waits = f"{str(release).capitalize()} waits and is tried again; readers keep the release that they have."
    if away := _storage_problem(lake, release.environment):
        return f"{away if away in reason else reason}\n{waits}"
    if release.state != "cut":
        return reason
    if gone := _expired(lake, connection, release):
        return _give_up(connection, release, gone)
    failures = log.failed(connection, release)
    if failures < FAILURES_BEFORE_GIVING_UP:
        return f"{reason}\n{waits}"
    if isinstance(error, PublishError) and (left := _leave(connection, release, error.table, reason)):
        return f"{reason}\n{left}"
    return _give_up(connection, release, f"It failed {failures} times, the last time with: {reason.splitlines()[0]}")


def _expired(lake: Lake, connection: psycopg.Connection, release: Release) -> str:
    """Which snapshot it was to be read at is gone; nothing when all are there. What is published already needs none."""
    before = last_manifest(lake, connection, release.environment)
    there = {(table.name, table.content) for table in before.tables} if before else set()
    for snapshot in sorted({
        release.snapshot,
        *(table.snapshot for table in release.tables if table.snapshot and (table.name, table.content) not in there),
    }):  # fmt: skip
        if not lake.has_snapshot(snapshot):
            return f"The lake's snapshot {snapshot} was expired before it was published."
    return ""


def _leave(connection: psycopg.Connection, release: Release, name: str, reason: str) -> str:
    """Leave the group of a table that can't be published as readers have it, and let the others go on.

    Gives a sentence that says so; nothing when there are no others.
    """
    before = log.newest(connection, release.environment, "published")
    placed = [(one.number, table) for one in (release, before) if one for table in one.tables if table.group]
    left, more = set[str](), {name}
    while more - left:  # whatever it moves with, or moved with when readers got it
        left |= more
        labels = {(number, table.group) for number, table in placed if table.name in left}
        more = {table.name for number, table in placed if (number, table.group) in labels}
    changed = tuple(word for word in release.changed if word.split(" ", 1)[0] not in left)
    if not more or not changed:
        return ""
    tables = [table for table in release.tables if table.name not in left]
    tables += [before.carry(table) for table in before.tables if table.name in left] if before else []
    tables.sort(key=lambda table: table.name)
    log.change(connection, replace(release, tables=tuple(tables), changed=changed))
    names = sorted(left)
    others = [one for one in held.read(connection, release.environment) if not left & set(one.tables)]
    why = f"can't be published: {reason.splitlines()[0]}"
    held.record(connection, release.environment, [*((one.tables, one.reasons) for one in others), (names, [why])])
    return f"{', '.join(names)} stay as readers have them; the rest of {release} is published without them."


def _give_up(connection: psycopg.Connection, release: Release, problem: str) -> str:
    log.give_up(connection, release, problem)
    return (
        f"{str(release).capitalize()} is given up and will not be published. {problem} Readers keep the release that "
        "they have, and the next one that is cut holds everything."
    )


def _storage_problem(lake: Lake, environment: str) -> str:
    """What a small write to the environment's folder is answered; nothing when all is well."""
    key = f"{environment_folder(environment)}/probe"
    try:
        lake.storage.write(key, b"")
        lake.storage.delete([key])
    except StorageError as error:
        return str(error)
    return ""


def rollback(lake: Lake, environment: str, to: int | None, *, by: str) -> Release:
    """Point readers at an earlier release and hold them there.

    Raises:
        ReleaseError: there is no such release, or it is gone.
    """
    with closing(connect(lake.settings)) as connection:
        with connection.transaction():
            pointer = _pointer(connection, environment)
            if to is None:
                earlier = [
                    release
                    for release in log.history(connection, environment)
                    if release.state == "published" and release.number < pointer.number
                ]
                if not earlier:
                    raise ReleaseError(f"There is no release of {environment} before {pointer.number} to go back to.")
                to = earlier[0].number
            release = log.find(connection, environment, to)
            if release.state != "published":
                raise ReleaseError(f"{str(release).capitalize()} is cut but not published yet: nobody can read it.")
            if release in approval.waiting(connection, environment):
                raise ReleaseError(f"{str(release).capitalize()} waits for an approval: `lakehouse release approve`.")
            log.hold(connection, environment, release.number, held_by=by)
        swap_pointer(lake.storage, connection, environment)
    return release


def resume(lake: Lake, environment: str) -> Release:
    """Let readers have the newest release again."""
    with closing(connect(lake.settings)) as connection:
        _pointer(connection, environment)
        log.resume(connection, environment)
        number = swap_pointer(lake.storage, connection, environment)
        assert number is not None
        return log.find(connection, environment, number)


def drop(lake: Lake, environment: str, *, run: str, report: Report = lambda _: None) -> None:
    """Delete all releases of an environment that is gone: its log, then its files.

    Call as its publisher, without its other locks: a backup at work is waited for, since it needs the files.
    """
    with holding(lake.settings, [maintenance_lock()], holder=run, waiting=report) as connection:
        _drop(lake, connection, environment)


def _drop(lake: Lake, connection: psycopg.Connection, environment: str) -> None:
    with connection.transaction():
        connection.execute("DELETE FROM ledger.pointers WHERE environment = %s", [environment])
        connection.execute("DELETE FROM ledger.postponed WHERE environment = %s", [environment])
        connection.execute("DELETE FROM ledger.held_back WHERE environment = %s", [environment])
        connection.execute("DELETE FROM ledger.releases WHERE environment = %s", [environment])
    lake.storage.delete([found.key for found in lake.storage.list(f"{environment_folder(environment)}/")])


def _pointer(connection: psycopg.Connection, environment: str) -> log.Pointer:
    connection.execute("SELECT FROM ledger.pointers WHERE environment = %s FOR UPDATE", [environment])
    pointer = log.pointer(connection, environment)
    if pointer is None:
        known = sorted({release.environment for release in log.history(connection) if release.state == "published"})
        there = f"Environments with releases: {', '.join(known)}." if known else "No environment has one yet."
        raise ReleaseError(f"{environment} has no published release. {there}")
    return pointer


def prune(
    lake: Lake, connection: psycopg.Connection, environment: str, keep: int, *, dry_run: bool = False
) -> tuple[list[int], int]:
    """Let go of all but the newest `keep` releases and the one that readers get.

    Call as the environment's publisher. A file goes when no kept release needs it. While a backup reads the files,
    nothing goes: the next time does it. Gives the numbers that went, and the bytes that went with them; with `dry_run`,
    what would go.
    """
    with trying(connection, maintenance_lock()) as held_by:
        return ([], 0) if held_by else _prune(lake, connection, environment, keep, dry_run)


def _prune(
    lake: Lake, connection: psycopg.Connection, environment: str, keep: int, dry_run: bool
) -> tuple[list[int], int]:
    # Said first: a kill between leaves files that the next time takes, never a release without its files.
    with connection.transaction(force_rollback=dry_run):
        # A rollback holds this row while it chooses a release: what it has chosen is kept.
        connection.execute("SELECT FROM ledger.pointers WHERE environment = %s FOR UPDATE", [environment])
        releases = [release for release in log.history(connection, environment) if release.state == "published"]
        pointer = log.pointer(connection, environment)
        old = [release for release in releases[max(keep, 1) :] if not pointer or release.number != pointer.number]
        log.forget(connection, old)
    forgotten = [one for one in log.history(connection, environment) if one.state == "gone"]
    gone = tuple(f"{one.folder}/" for one in [*forgotten, *old])
    kept = lake.storage.list(f"{environment_folder(environment)}/releases/")
    doomed = [found for found in kept if found.key.startswith(gone or "?")]
    folder = docs_folder(environment)
    sites = {f"{release.number:05d}" for release in releases if release not in old} | {"index.html"}
    doomed += [
        found for found in lake.storage.list(folder) if found.key.removeprefix(folder).split("/", 1)[0] not in sites
    ]
    if not doomed and not old:
        return [], 0
    needed: set[str] = set()
    for release in releases:
        if release not in old:
            manifest = read_manifest(lake.storage, release.folder)
            if manifest is None:
                raise ReleaseError(f"{str(release).capitalize()} has lost its manifest: nothing was deleted.")
            needed |= manifest.keys()
    # A publisher at work has written files that no manifest names yet: they carry its release's number.
    at_work = tuple(f"r{release.number:05d}-" for release in log.candidates(connection, environment))
    unneeded = [
        found
        for found in lake.storage.list(data_folder(environment))
        if found.key not in needed and not found.key.rpartition("/")[2].startswith(at_work or "?")
    ]
    if not dry_run:
        lake.storage.delete([found.key for found in [*unneeded, *doomed]])
    return [release.number for release in old], sum(found.size_bytes for found in [*unneeded, *doomed])
