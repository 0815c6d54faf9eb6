"""What became of each chosen model in a run, and the sentences that tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from lakehouse_assets.sqlmesh_integration.markdown import text_table
from lakehouse_assets.sqlmesh_integration.ranges import as_intervals, interval_count
from lakehouse_assets.sqlmesh_integration.reasons import remedy

State = Literal[
    "computed", "failed", "skipped", "up_to_date", "not_ready", "shared", "refused", "undeployed", "pending"
]


@dataclass
class CheckOutcome:
    """One audit over everything a run computed of a model."""

    check_name: str
    audit: str
    blocking: bool
    failed_rows: int = 0
    query: str = ""
    columns: tuple[str, ...] = ()
    sample: tuple[tuple[object, ...], ...] = ()
    error: str = ""
    """Why it could not be run: it has not passed then."""

    @property
    def passed(self) -> bool:
        return self.failed_rows == 0 and not self.error


@dataclass
class ModelOutcome:
    name: str
    state: State = "pending"
    reason: str = ""
    traceback: str = ""
    """Of an error in the project's Python, with its lines of code."""
    intervals: list[tuple[datetime, datetime]] = field(default_factory=list)
    """What was computed, batch by batch."""
    rows: dict[str | None, int] = field(default_factory=dict)
    """Of what was computed of a model with a time column, by partition; by None where that can't be told."""
    total_rows: int | None = None
    """Of the whole table; None for a view."""
    columns: dict[str, str] = field(default_factory=dict)
    """Of the table, with their types as the engine has them, where it tells them cheaply."""
    interval_unit: str = ""
    """`day`, `month`; empty where it is computed as a whole."""
    duration_seconds: float = 0.0
    snapshot_version: str = ""
    physical_table: str = ""
    checks: dict[str, CheckOutcome] = field(default_factory=dict)
    preview: str | None = None
    plot: str | None = None

    @property
    def interval_count(self) -> int:
        """How many intervals were computed; 1 of what is computed as a whole."""
        return interval_count(as_intervals(self.intervals), self.interval_unit)

    @property
    def is_settled(self) -> bool:
        """Nothing of this model is unfinished: its table and state agree, and no blocking audit failed."""
        return self.state in ("computed", "up_to_date", "shared")


def failure_message(outcomes: Mapping[str, ModelOutcome], environment: str, footnote: str = "") -> str:
    """What failed, why, and what was not tried because of it."""
    tried = [o for o in outcomes.values() if o.state in ("computed", "failed", "skipped")]
    failed = [outcome for outcome in tried if outcome.state == "failed"]
    skipped = sorted(outcome.name for outcome in tried if outcome.state == "skipped")
    lines = [f"{len(failed)} of {len(tried)} models failed in environment {environment}:"]
    lines += [f"  {outcome.name}: {outcome.reason}" for outcome in failed]
    if skipped:
        lines.append(f"Skipped, because they read what failed: {', '.join(skipped)}.")
    lines += [footnote] if footnote else []
    again = "materialize it again: what is missing is computed then"
    lines.append(remedy([outcome.reason for outcome in failed], again))
    lines += filter(None, (audit_rows(outcome.name, outcome.checks.values()) for outcome in failed))
    return "\n".join(lines)


def audit_rows(name: str, checks: Iterable[CheckOutcome]) -> str:
    """The rows that a model's failed blocking audits found, some of them, each with the query that finds them."""
    parts = []
    for check in checks:
        if check.blocking and check.failed_rows:
            some = f", {len(check.sample)} of them" if check.failed_rows > len(check.sample) else ""
            rows = text_table(check.columns, check.sample)
            head = f"{name}: {rows_in_words(check.failed_rows)} that audit {check.check_name} found{some}:"
            parts.append(f"{head}\n{rows}\n{check.query};")
    return "\n".join(parts)


def times_sentence(outcomes: Iterable[ModelOutcome]) -> str:
    """Where the time went, the slowest model first."""
    slowest = sorted((o for o in outcomes if o.intervals), key=lambda outcome: -outcome.duration_seconds)
    shown = [f"{outcome.name} {outcome.duration_seconds:.1f} s" for outcome in slowest]
    return f"Where the time went: {', '.join(shown) or 'no model was computed'}."


def audit_sentence(checks: Iterable[CheckOutcome]) -> str:
    found = [check for check in checks if check.blocking and not check.passed]
    return "; ".join(f"audit {check.check_name} found {rows_in_words(check.failed_rows)}" for check in found)


def rows_in_words(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
