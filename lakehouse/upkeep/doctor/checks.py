"""All checks in the order in which they are made, and how they are made: one that breaks does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points

from lakehouse.upkeep.doctor import database, files, installation, machine, readers, unfinished
from lakehouse.upkeep.doctor.examination import Examination, UnableError, reason
from lakehouse.upkeep.doctor.findings import Check, Level, Result, wrong

GROUP = "lakehouse.checks"
"""Installed packages add a list of checks by an entry point of this group."""

CHECKS = (
    Check("settings", installation.settings_fit),
    Check(".env", installation.dotenv),
    Check("disks", machine.disks),
    # Before anybody joins the embedded server.
    Check("server", database.server),
    Check("database", database.database),
    Check("storage", files.storage),
    Check("clocks", database.clocks),
    Check("lakes", database.lakes),
    Check("data path", files.data_path),
    Check("files", files.sample),
    Check("marks", unfinished.marks),
    Check("locks", unfinished.locks),
    Check("releases", readers.releases),
    Check("pointer", readers.pointer),
    Check("query service", readers.query_service),
)


def examine(examination: Examination, checks: Iterable[Check]) -> Iterator[Result]:
    """Make the checks one after the other; a result each."""
    for check in checks:
        try:
            seen = check.look(examination)
        except UnableError as error:
            yield Result(check.name, Level.UNKNOWN, f"not looked at: {error}")
        except Exception as error:  # whatever is broken, the others go on
            yield Result(
                check.name,
                Level.WARNING,
                f"could not be looked at: {type(error).__name__}: {reason(error)}",
            )
        else:
            levels = [finding.level for finding in seen.findings]
            worst = Level.WRONG if Level.WRONG in levels else Level.WARNING if levels else Level.WELL
            yield Result(check.name, worst, seen.findings[0].what if seen.findings else seen.line, seen.findings)


def all_checks() -> list[Check]:
    """Ours, and those of installed packages; a package that can't be loaded is a check that says so."""
    found = list(CHECKS)
    for point in entry_points(group=GROUP):
        try:
            found += point.load()
        except Exception as error:
            found.append(_broken(point.name, point.value, error))
    return found


def _broken(name: str, where: str, error: Exception) -> Check:
    from lakehouse.upkeep.doctor.findings import Seen

    finding = wrong(
        f"the checks of {name} can't be loaded: {type(error).__name__}: {reason(error)}",
        where=where,
        why="What they look at is unknown, and the same error may stop the code location.",
        do="pip install --require-hashes -r requirements.lock; then `lakehouse doctor` again.",
    )
    return Check(name, lambda _: Seen("", (finding,)))
