"""docs/faults.md: what the long runs found, a section each, replaced when that run is done again."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime

from benchmarks.document import sections
from lakehouse.settings import PROJECT_ROOT
from tests.faults.at_once import AtOnce
from tests.faults.campaign import Report

PATH = PROJECT_ROOT / "docs" / "faults.md"
ORDER = ("nights", "folder", "s3", "services", "no-rule", "at-once")
INTRODUCTION = """# Faults

Written by `make prove`: don't edit. A real lakehouse is at work (a loader, loops that compute and publish prod and a
developer's environment, maintenance without pause, an environment that is made, promoted and dropped, rollbacks) while
faults are injected: SIGKILL at a random moment or at a named place, PostgreSQL and the object store killed, frozen or
cut off, what it had confirmed lost, a disk without a free byte. They come one by one, or up to twelve before the lake
has recovered from the first; then an ordinary run has to repair what was unfinished and to release anew. No hand is
lent. Two readers ask invariants all the while. At the end every row of the raw tables is compared with what was
brought, and the marts of the last releases with the truth.

*Recovered*: from the fault until nothing that was unfinished then still is, and a newer release is published: that
holds the wait for the next load (8 seconds on average) and, for random kills, for the other faults of their burst. *Not
reached*: within 60 seconds no process came to that place, so nothing was injected. *Seen by readers*: wrong answers,
mixtures, releases that went back by themselves, and errors other than those of a storage that is away.

The nights (`make prove-faults`) strike one act at a time, at any of the hundred places at which it makes something
durable, or two acts at once, again and again before the lake is brought to rest; what a kind is stands in
tests/faults/nights/strikes.py."""


def write(name: str, section: str) -> None:
    """Put a section in, and keep the others."""
    known = {**(sections(PATH.read_text()) if PATH.exists() else {}), name: section}
    body = [f"<!-- case: {key} -->\n{known[key]}\n<!-- end: {key} -->" for key in ORDER if key in known]
    PATH.write_text("\n\n".join([INTRODUCTION, *body]) + "\n")


def faults(report: Report) -> str:
    """A campaign's table."""
    lines = [
        f"## Faults on {'S3' if report.where == 'S3' else 'a folder'}",
        "",
        f"{report.injected} faults, seed {report.seed}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {report.loads} loads, "
        f"{report.releases} releases, {report.reads:,} reads, of which {report.retries} were tried again while the "
        f"storage was away. Rows lost: **{report.lost}**; doubled: **{report.doubled}**; wrong to readers: "
        f"**{len(report.violations)}**.",
        "",
        "| fault | injected | not reached | rows lost | twice | seen by readers | recovered in s (median) | at most |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    # Rows are compared when all is over: what is missing then may be any fault's doing.
    lost, twice = (f"{'≤ ' if total else ''}{total}" for total in (report.lost, report.doubled))
    for name, told in sorted(report.kinds.items()):
        median = f"{statistics.median(told.seconds):.1f}" if told.seconds else ""
        most = f"{max(told.seconds):.1f}" if told.seconds else ""
        cells = (name, told.injected, told.not_reached, lost, twice, told.violations, median, most)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def services(killed: dict[str, int], rows: int, wrong: int) -> str:
    """What became of real services."""
    lines = [
        "## Dagster's own processes",
        "",
        f"`lakehouse up` with webserver, daemon and sensors while files land, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; "
        f"after the last kill nobody helps. {rows} rows arrived; lost, doubled or wrong in the marts: **{wrong}**.",
        "",
        "| SIGKILL of | injected |",
        "|---|---:|",
        *(f"| {name} | {count} |" for name, count in sorted(killed.items())),
    ]
    return "\n".join(lines)


def without_the_rule(report: Report) -> str:
    """That the suite can find something."""
    return (
        "## The same with the release rule switched off\n\n"
        f"{report.injected} faults, seed {report.seed}: readers saw **{len(report.violations)}** violations:\n\n"
        + "\n".join(f"- {sentence}" for sentence in report.violations[:5])
    )


def everybody(told: AtOnce) -> str:
    """Who waited for how long."""
    lines = [
        "## Everybody at once",
        "",
        f"Four loaders, catch-ups of two environments, a backfill, promotions, rollbacks, maintenance and twenty "
        f"readers for {told.seconds:.0f} seconds, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {told.reads:,} reads, "
        f"**{len(told.errors)}** errors, **{len(told.violations)}** violations, **{told.lost}** rows lost, "
        f"**{told.doubled}** doubled. Seconds of an act include what it waited for others.",
        "",
        "| act | times | seconds (median) | at most |",
        "|---|---:|---:|---:|",
        *(
            f"| {act} | {len(seconds)} | {statistics.median(seconds):.1f} | {max(seconds):.1f} |"
            for act, seconds in sorted(told.acts.items())
        ),
    ]
    return "\n".join(lines)
