"""One pass of SQLMesh's scheduler in its own thread, as a stream of outcomes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse_assets.sqlmesh_integration import engine
from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.outcome import (
    CheckOutcome,
    ModelOutcome,
    audit_sentence,
)
from lakehouse_assets.sqlmesh_integration.ranges import from_ms, without
from lakehouse_assets.sqlmesh_integration.reasons import error_sentence, traceback_of
from lakehouse_assets.sqlmesh_integration.rows import Counted, RowCounter

Look = Callable[[ModelOutcome], None]


@dataclass(frozen=True)
class Message:
    """A line for the run's log."""

    level: str
    text: str


@dataclass(frozen=True)
class Mark:
    """When the first batch of a model begins, and when its last one has ended or failed."""

    name: str
    is_end: bool


@dataclass(frozen=True)
class _Counted:
    fqn: str
    rows: Counted
    is_last: bool


class Execution:
    """Computes `work` and yields a model's outcome as soon as it is finished.

    What will be computed is written to the state as missing before anything is, so a process killed in the
    middle leaves nothing that looks done; not so `kept`, the days that only come with what is due. Everything that
    touches the engine happens in the one thread that computes; stopping the iteration stops that thread after the
    batch it is at.
    """

    def __init__(
        self,
        session: engine.Session,
        deployment: Deployment,
        counter: RowCounter,
        look: Look,
        kept: Mapping[str, Sequence[Interval]] | None = None,
    ):
        self.session = session
        self.deployment = deployment
        self.counter = counter
        self.look = look
        self.kept = kept or {}
        self.outcomes: dict[str, ModelOutcome] = {}
        self.error: BaseException | None = None
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._left: dict[str, int] = {}
        self._begun: set[str] = set()

    def run(self, work: Mapping[str, Sequence[Interval]]) -> Generator[ModelOutcome | Message | Mark, None, None]:
        for name in work:
            self.outcomes[name] = self._outcome(name)
        thread = threading.Thread(target=self._compute, args=(work,), name="sqlmesh", daemon=True)
        thread.start()
        try:
            while (event := self._events.get()) is not None:
                yield from self._told(event)
        finally:
            self._stop.set()
            thread.join()
        if self.error is not None:
            raise self.error
        for outcome in self.outcomes.values():
            if outcome.state == "pending":
                outcome.state, outcome.reason = "skipped", "SQLMesh did not come to it"
            if outcome.state in ("failed", "skipped", "not_ready"):
                yield outcome

    # ------------------------------------------------------------------------- in the computing thread

    def _compute(self, work: Mapping[str, Sequence[Interval]]) -> None:
        self.session.console.sink = self._hear
        evaluator = engine.RecordingEvaluator.of(self.session.context)
        evaluator.sink = self._hear
        try:
            self.deployment.compute(work, self._stop.is_set)
        except BaseException as error:  # handed to the thread that waits
            self.error = error
        finally:
            self._events.put(None)

    def _hear(self, event: Any) -> None:
        if isinstance(event, engine.Planned):
            batches = {self.deployment.names[fqn]: list(found) for fqn, found in event.batches.items()}
            self.deployment.forget({name: self._at_stake(name, found) for name, found in batches.items()})
            self._left = {name: len(found) for name, found in batches.items()}
        if isinstance(event, engine.NodeFailed) and event.interval is not None:
            # Nothing in it was due: no later run would come to it again by itself.
            name = self.deployment.names[event.fqn]
            if not self._at_stake(name, [event.interval]):
                self.deployment.forget({name: [event.interval]})
        self._events.put(event)
        if isinstance(event, engine.BatchDone):
            self._after_batch(event)

    def _at_stake(self, name: str, batches: Sequence[Interval]) -> list[Interval]:
        """What counts as computed only when this run has computed it: all but what comes with a look-back."""
        known, kept = self.deployment.intervals(name), self.kept.get(name, ())
        return [part for batch in known.followed(batches) for part in without(batch, kept)]

    def _after_batch(self, event: engine.BatchDone) -> None:
        name = self.deployment.names[event.fqn]
        rows: Counted = {}
        with self._counting:  # SQLMesh computes batches of one model side by side where the engine can
            self._left[name] -= 1
            try:
                rows = self.counter.count(name, event.interval)
                if self._left[name] == 0 and name in self.outcomes:
                    self.outcomes[name].total_rows = self.counter.total(name)
                    self.outcomes[name].columns = self.counter.columns(name)
                    self.look(self.outcomes[name])
            except Exception as error:  # whatever it is: the model itself is computed and audited
                self._events.put(engine.Logged("warning", f"{name} was not looked at: {error_sentence(error)}"))
            self._events.put(_Counted(event.fqn, rows, is_last=self._left[name] == 0))

    # -------------------------------------------------------------------------- in the waiting thread

    def _told(self, event: Any) -> Iterator[ModelOutcome | Message | Mark]:
        match event:
            case engine.Planned(batches=batches):
                for fqn, found in batches.items():
                    outcome = self._of(fqn)
                    outcome.state = "pending" if found else "not_ready"
                    outcome.reason = "" if found else "its signal is not ready for any interval that is due"
                yield Message("info", _plan_line(batches, self.deployment.names))
            case engine.Audited():
                self._audited(event)
            case engine.Begun(fqn=fqn):
                yield from self._marked(fqn, is_end=False)
            case engine.BatchDone(fqn=fqn, interval=interval, duration_ms=duration_ms):
                outcome = self._of(fqn)
                outcome.intervals.append((from_ms(interval[0]), from_ms(interval[1])))
                outcome.duration_seconds += duration_ms / 1000
            case _Counted(fqn=fqn, rows=rows, is_last=is_last):
                outcome = self._of(fqn)
                for key, count in rows.items():
                    outcome.rows[key] = outcome.rows.get(key, 0) + count
                if is_last:
                    yield from self._marked(fqn, is_end=True)
                    outcome.state = "computed"
                    yield outcome
            case engine.NodeFailed(fqn=fqn, error=error):
                outcome = self._of(fqn)
                outcome.state = "failed"
                outcome.reason = audit_sentence(outcome.checks.values()) or error_sentence(error)
                outcome.traceback = traceback_of(error)
                yield from self._marked(fqn, is_end=True)
            case engine.NodesSkipped(fqns=fqns):
                for fqn in fqns:
                    outcome = self._of(fqn)
                    outcome.state, outcome.reason = "skipped", "a model that it reads failed"
            case engine.Logged(level=level, text=text):
                yield Message(level, text)

    def _marked(self, fqn: str, *, is_end: bool) -> Iterator[Mark]:
        if (fqn in self._begun) == is_end:
            (self._begun.discard if is_end else self._begun.add)(fqn)
            yield Mark(self.deployment.names.get(fqn, fqn), is_end)

    def _audited(self, event: engine.Audited) -> None:
        checks = self._of(event.fqn).checks
        check = checks.setdefault(event.check_name, CheckOutcome(event.check_name, event.audit, event.blocking))
        check.failed_rows += event.rows
        if event.rows or not check.query:
            check.query, check.columns = event.query, event.columns
            check.sample = event.sample

    def _of(self, fqn: str) -> ModelOutcome:
        name = self.deployment.names.get(fqn, fqn)
        return self.outcomes.setdefault(name, self._outcome(name))

    def _outcome(self, name: str) -> ModelOutcome:
        snapshot = self.deployment.snapshots.get(name)
        if snapshot is None or not snapshot.is_model:
            return ModelOutcome(name)
        version, table = snapshot.version or "", self.deployment.table(name)
        unit = engine.counted_unit(snapshot)
        return ModelOutcome(name, interval_unit=unit, snapshot_version=version, physical_table=table)


def _plan_line(batches: Mapping[str, Sequence[Interval]], names: Mapping[str, str]) -> str:
    parts = []
    for fqn, found in batches.items():
        if found:
            first, last = from_ms(found[0][0]), from_ms(found[-1][1])
            count = f" in {len(found)} batches" if len(found) > 1 else ""
            parts.append(f"{names.get(fqn, fqn)} [{first:%Y-%m-%d %H:%M}, {last:%Y-%m-%d %H:%M}){count}")
    return "SQLMesh computes " + ("; ".join(parts) or "nothing: no signal is ready")
