"""What readers get: releases that wait, holds that were forgotten, the pointer, the query service."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

from lakehouse.releases import log
from lakehouse.releases.pointer import pointer_key, read_pointer
from lakehouse.releases.rule import changed_at
from lakehouse.storage import StorageError
from lakehouse.upkeep.doctor.examination import Examination, UnableError
from lakehouse.upkeep.doctor.findings import Finding, Seen, warning, wrong

WAITING = timedelta(minutes=15)
FORGOTTEN = timedelta(days=2)
BEHIND = timedelta(hours=1)
SETTLE_SECONDS = 1.0


def releases(examination: Examination) -> Seen:
    """Nothing waits to be published, no hold is forgotten, and releases are as new as the marts."""
    examination.require_lake()
    connection = examination.postgres
    history = log.history(connection)
    now = datetime.fromtimestamp(examination.seconds(), UTC).replace(tzinfo=None)
    findings: list[Finding] = []
    said = []
    for environment in sorted({release.environment for release in history}):
        pointer = log.pointer(connection, environment)
        waiting = [one for one in log.candidates(connection, environment) if now - one.cut_at > WAITING]
        if waiting:
            findings.append(
                wrong(
                    f"{waiting[0]} waits to be published since {waiting[0].cut_at:%Y-%m-%d %H:%M} UTC",
                    where=f"ledger.releases; {len(waiting)} wait",
                    why=f"Readers of {environment} get "
                    + (f"release {pointer.number}, older than the marts." if pointer else "nothing."),
                    do="`make up` runs the daemon, whose release_sensor publishes; without it: "
                    f"{_prefix(environment)}dagster job execute -j publish_release",
                )
            )
        if pointer and pointer.held_by and pointer.held_at and now - pointer.held_at > FORGOTTEN:
            findings.append(
                warning(
                    f"readers of {environment} are {pointer.hold} for {(now - pointer.held_at).days} days",
                    where=f"ledger.pointers, since {pointer.held_at:%Y-%m-%d %H:%M} UTC",
                    why="Every later release waits behind a hold; it may have been forgotten.",
                    do=f"lakehouse release resume {environment}",
                )
            )
        newest = next((one for one in history if one.environment == environment and one.state != "gone"), None)
        late = _behind(examination, newest, now) if newest and newest.state == "published" else None
        findings += [late] if late else []
        said.append(f"readers of {environment} get release {pointer.number}" if pointer else f"{environment}: none yet")
    return Seen("; ".join(said) or "nothing was released yet", tuple(findings))


def _prefix(environment: str) -> str:
    return "" if environment == "prod" else f"LAKEHOUSE_ENVIRONMENT={environment} "


def _behind(examination: Examination, release: log.Release, now: datetime) -> Finding | None:
    """Its tables changed since, long ago, and no release was cut."""
    changed = changed_at(examination.postgres, [table.physical_table for table in release.tables])
    newer = {
        table.name: changed[table.physical_table]
        for table in release.tables
        if changed.get(table.physical_table, 0) > release.snapshot_of(table)
    }
    if not newer:
        return None
    row = examination.postgres.execute(
        "SELECT min(snapshot_time) AT TIME ZONE 'UTC' FROM lakehouse.ducklake_snapshot WHERE snapshot_id = ANY(%s)",
        [list(newer.values())],
    ).fetchone()
    since = row[0] if row else None
    if since is None or now - since < BEHIND:
        return None
    return warning(
        f"{release} is older than {len(newer)} of its tables, which changed at {since:%Y-%m-%d %H:%M} UTC",
        where=", ".join(sorted(newer)[:5]),
        why="The rule that cuts releases was not met: something is unfinished, behind, or failed its audits.",
        do=f"{_prefix(release.environment)}dagster job execute -j publish_release; it says why it can't cut one.",
    )


def pointer(examination: Examination) -> Seen:
    """`current.json` says what the release log says."""
    examination.require_lake()
    rows = examination.postgres.execute("SELECT environment FROM ledger.pointers ORDER BY environment").fetchall()
    findings = []
    for (environment,) in rows:
        if _stays_different(examination, environment):
            known = log.pointer(examination.postgres, environment)
            says = _says(examination, environment)
            findings.append(
                wrong(
                    f"readers of {environment} follow current.json to {says}, and the log says "
                    f"release {known.number if known else '?'}",
                    where=examination.storage.uri_of(pointer_key(environment)),
                    why="Readers get another release than the one that was published, held or resumed.",
                    do="The daemon's release_sensor puts it right; without it: "
                    f"{_prefix(environment)}dagster job execute "
                    "-j publish_release",
                )
            )
    names = ", ".join(environment for (environment,) in rows)
    return Seen(f"current.json of {names} is right" if rows else "nothing was released yet", tuple(findings))


def _stays_different(examination: Examination, environment: str) -> bool:
    """A publisher swaps it a moment after the log: look twice."""
    if not _differs(examination, environment):
        return False
    time.sleep(SETTLE_SECONDS)
    return _differs(examination, environment)


def _differs(examination: Examination, environment: str) -> bool:
    known = log.pointer(examination.postgres, environment)
    found = _read(examination, environment)
    if known is None:
        return False
    return found is None or found.get("release") != known.number or bool(found.get("held")) != bool(known.held_by)


def _says(examination: Examination, environment: str) -> str:
    found = _read(examination, environment)
    return f"release {found.get('release', '?')}" if found else "nothing: it is missing or can't be read"


def _read(examination: Examination, environment: str) -> dict[str, object] | None:
    try:
        return read_pointer(examination.storage, environment)
    except StorageError as error:
        raise UnableError(str(error).splitlines()[0]) from None
    except ValueError:  # no JSON
        return None


def query_service(examination: Examination) -> Seen:
    """The query service answers from the release that readers should get."""
    settings = examination.settings
    environment, url = settings.environment, settings.query_service_url
    reply = _ask(f"{url}/releases", settings.query_token.get_secret_value())
    if reply is None:
        return Seen(f"it does not run at {url}")
    if reply.get("status") in (401, 403):
        raise UnableError("the query service asks for a token: LAKEHOUSE_QUERY_TOKEN")
    if "release" not in reply:
        if _read(examination, environment) is None:
            return Seen("it runs, and nothing was released yet")
        return Seen("", (_unready(url, str(reply.get("detail") or "it answers with an error")),))
    wanted = _read(examination, environment)
    if wanted and wanted.get("environment", environment) == reply.get("environment"):
        if reply["release"] != wanted["release"]:
            time.sleep(SETTLE_SECONDS)
            reply, wanted = (
                _ask(f"{url}/releases", settings.query_token.get_secret_value()) or {},
                _read(examination, environment),
            )
        if wanted and reply.get("release") != wanted["release"]:
            return Seen(
                "",
                (
                    warning(
                        f"the query service answers from release {reply.get('release')}, and readers of {environment} "
                        f"should get {wanted['release']}",
                        where=url,
                        why="It reads another storage, or stopped looking: dashboards show other numbers than "
                        "`lakehouse query`.",
                        do="Restart it (`make up`); check that its LAKEHOUSE_STORAGE is this one.",
                    ),
                ),
            )
    return Seen(f"it answers from release {reply['release']} of {reply.get('environment')}")


def _unready(url: str, detail: str) -> Finding:
    return wrong(
        f"the query service can't answer: {detail}",
        where=url,
        why="Dashboards and other readers get errors.",
        do="Its log says more: logs/query.log in the data folder. Check LAKEHOUSE_STORAGE and its keys.",
    )


def _ask(url: str, token: str) -> dict[str, object] | None:
    """JSON from the service; None when nothing of ours listens there."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            found = json.load(reply)
    except urllib.error.HTTPError as error:
        try:
            found = {**json.load(error), "status": error.code}
        except (ValueError, TypeError):
            return None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
