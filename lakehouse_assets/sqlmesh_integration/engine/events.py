"""What a run of SQLMesh tells while it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmesh.core.console import NoopConsole

Interval = tuple[int, int]
"""[start, end) in milliseconds since the epoch, UTC: how SQLMesh keeps intervals."""


@dataclass(frozen=True)
class Planned:
    """What will be computed, after signals and batching and before anything is."""

    batches: Mapping[str, Sequence[Interval]]


@dataclass(frozen=True)
class Begun:
    """A batch of it is being computed from now on."""

    fqn: str


@dataclass(frozen=True)
class BatchDone:
    fqn: str
    interval: Interval
    duration_ms: int


@dataclass(frozen=True)
class Audited:
    """One audit over one batch. `rows` counts those that failed; `sample` holds a few of them."""

    fqn: str
    check_name: str
    audit: str
    interval: Interval
    rows: int
    blocking: bool
    query: str
    columns: tuple[str, ...] = ()
    sample: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True)
class NodeFailed:
    fqn: str
    error: BaseException
    interval: Interval | None = None
    """Of the batch that failed; None where it was no batch."""


@dataclass(frozen=True)
class NodesSkipped:
    fqns: frozenset[str]


@dataclass(frozen=True)
class Logged:
    level: str
    text: str


Sink = Callable[[Any], None]


def nowhere(event: Any) -> None:
    """Where events go between runs."""


class EventConsole(NoopConsole):
    """SQLMesh's console, as a stream of the events above. Called in the thread that computes."""

    def __init__(self) -> None:
        self.sink: Sink = nowhere
        self.broken_rules: list[str] = []
        """`file, line n: rule: what is wrong`, of the models that the linter stopped last."""

    def start_evaluation_progress(self, batched_intervals: Any, *args: Any, **kwargs: Any) -> None:
        self.sink(Planned({snapshot.name: list(batches) for snapshot, batches in batched_intervals.items()}))

    def start_snapshot_evaluation_progress(self, snapshot: Any, *args: Any, **kwargs: Any) -> None:
        self.sink(Begun(snapshot.name))

    def update_snapshot_evaluation_progress(
        self, snapshot: Any, interval: Any, batch_idx: int, duration_ms: int | None, *args: Any, **kwargs: Any
    ) -> None:
        if duration_ms is not None:  # None: it failed, and log_failed_models tells how
            self.sink(BatchDone(snapshot.name, interval, duration_ms))

    def log_failed_models(self, errors: Any) -> None:
        for error in errors:
            name = str(getattr(error.node, "snapshot_name", None) or getattr(error.node, "name", error.node))
            self.sink(NodeFailed(name, error.__cause__ or error, getattr(error.node, "interval", None)))

    def log_skipped_models(self, snapshot_names: Any) -> None:
        if snapshot_names:
            self.sink(NodesSkipped(frozenset(snapshot_names)))

    def show_linter_violations(self, violations: Any, model: Any, is_error: bool = False) -> None:
        for violation in violations if is_error else ():
            line = f", line {violation.violation_range.start.line + 1}" if violation.violation_range else ""
            told = " ".join(violation.violation_msg.split())
            self.broken_rules.append(f"{model._path}{line}: {violation.rule.name}: {told}")

    def log_warning(self, short_message: str, long_message: str | None = None) -> None:
        self.sink(Logged("warning", short_message.strip()))

    def log_error(self, message: str, *args: Any, **kwargs: Any) -> None:
        self.sink(Logged("error", str(message).strip()))
