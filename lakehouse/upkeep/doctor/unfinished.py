"""Work that was left: marks that nobody repairs, locks that nobody gives back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Seen, warning, wrong
from lakehouse.writing import marks as marks_module
from lakehouse.writing.locks import Held, Lock, environment_lock, held, maintenance_lock, pipeline_lock, tables_lock
from lakehouse.writing.marks import Mark

UNREPAIRED = timedelta(minutes=15)
HELD = timedelta(hours=3)


def marks(examination: Examination) -> Seen:
    """Whatever is unfinished is being worked on, or was left only just now."""
    examination.require_lake()
    found = marks_module.read(examination.postgres)
    locks = held(examination.postgres, [_lock(mark) for mark in found])
    holders = {one.lock for one in locks if not one.shared}
    now = datetime.fromtimestamp(examination.seconds(), UTC).replace(tzinfo=None)
    # A load holds its lock as long as its mark stands; a run's models stay marked after a failure.
    left = [
        mark
        for mark in found
        if str(_lock(mark)) not in holders and (mark.kind == "load" or now - mark.since > UNREPAIRED)
    ]
    groups: dict[tuple[str, str], list[Mark]] = {}
    for mark in left:
        groups.setdefault((mark.kind, mark.scope), []).append(mark)
    findings = [
        wrong(
            f"unfinished {kind} of {scope}{_subjects(group)}: nobody repairs it",
            where=f"ledger.marks, left by {group[0].run} at {min(mark.since for mark in group):%Y-%m-%d %H:%M} UTC; "
            "nobody holds its lock",
            why="No release is cut while it is there, so readers keep old numbers; what it wrote may be half a load.",
            do=_repair(kind, scope),
        )
        for (kind, scope), group in groups.items()
    ]
    at_work = len(found) - len(left)
    return Seen(f"{at_work} pieces of work are under way" if at_work else "nothing is unfinished", tuple(findings))


def _lock(mark: Mark) -> Lock:
    return pipeline_lock(mark.scope) if mark.kind == "load" else environment_lock(mark.scope)


def _subjects(group: list[Mark]) -> str:
    names = [mark.subject for mark in group if mark.subject]
    return f" ({', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''})" if names else ""


def _repair(kind: str, scope: str) -> str:
    if kind == "load":
        return f"Undo it: lakehouse load abandon {scope}. Or load again, which undoes it first."
    if kind == "deploy":
        return f"Deploy again, which ends it: lakehouse deploy {scope}"
    elsewhere = "" if scope == "prod" else f"LAKEHOUSE_ENVIRONMENT={scope} "
    return f"Compute it again, which repairs it: {elsewhere}dagster job execute -j catch_up"


def locks(examination: Examination) -> Seen:
    """Nobody holds a lock for hours."""
    examination.require_lake()
    connection = examination.postgres
    names = connection.execute(
        "SELECT 'pipeline', pipeline FROM ledger.touched UNION SELECT 'pipeline', scope FROM ledger.marks "
        "WHERE kind = 'load' UNION SELECT 'environment', environment FROM ledger.deployments"
    ).fetchall()
    known = [pipeline_lock(name) if kind == "pipeline" else environment_lock(name) for kind, name in names]
    found = held(connection, [*known, tables_lock(), maintenance_lock()])
    now = datetime.fromtimestamp(examination.seconds(), UTC).replace(tzinfo=None)
    long = [one for one in found if now - one.since > HELD]
    by_holder: dict[int, list[Held]] = {}
    for one in long:
        by_holder.setdefault(one.pid, []).append(one)
    findings = [
        warning(
            f"{' and '.join(sorted({one.lock for one in group}))} held for {_hours(now - group[0].since)}",
            where=f"{group[0].holder}, PostgreSQL's process {pid} for {group[0].client}",
            why="Every load, run or deploy that needs it waits, and gives up after LAKEHOUSE_LOCK_TIMEOUT_SECONDS.",
            do="Look at that run in the web UI and cancel it if it hangs. When its process is gone: "
            f"SELECT pg_terminate_backend({pid})",
        )
        for pid, group in by_holder.items()
    ]
    holders = {one.pid for one in found}
    return Seen(f"{len(holders)} at work hold locks" if holders else "none is held", tuple(findings))


def _hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:,.0f} hours"
