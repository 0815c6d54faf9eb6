"""Audits: their names, their results, and the rows that fail them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlglot import exp
from sqlmesh import Context
from sqlmesh.core.audit import Audit
from sqlmesh.core.snapshot import DeployabilityIndex, Snapshot, SnapshotEvaluator
from sqlmesh.utils import CorrelationId
from sqlmesh.utils.date import to_timestamp
from sqlmesh.utils.errors import NodeAuditsErrors

from lakehouse_assets.sqlmesh_integration.engine.events import Audited, Interval, Sink, nowhere
from lakehouse_assets.sqlmesh_integration.engine.reading import hidden_columns, shows_hidden
from lakehouse_assets.sqlmesh_integration.names import check_names


class RecordingEvaluator(SnapshotEvaluator):
    """SQLMesh's evaluator that tells every audit's result, with a few of the rows that failed it."""

    sink: Sink = staticmethod(nowhere)
    sample_size = 10
    writing: Callable[[str], AbstractContextManager[None]] = staticmethod(lambda _: nullcontext())
    """Each batch of a model is computed in it, by `schema.table` of its rows."""

    @classmethod
    def of(cls, context: Context) -> RecordingEvaluator:
        existing = context._snapshot_evaluator
        return existing if isinstance(existing, cls) else cls._wrapping(context.snapshot_evaluator)

    @classmethod
    def _wrapping(cls, plain: SnapshotEvaluator) -> RecordingEvaluator:
        return cls(plain.adapters, plain.ddl_concurrent_tasks, plain.selected_gateway)

    def set_correlation_id(self, correlation_id: CorrelationId) -> SnapshotEvaluator:
        correlated = self._wrapping(super().set_correlation_id(correlation_id))
        correlated.sink, correlated.writing = self.sink, self.writing
        return correlated

    def evaluate(self, snapshot: Snapshot, **kwargs: Any) -> str | None:
        index = kwargs.get("deployability_index") or DeployabilityIndex.all_deployable()
        table = exp.to_table(snapshot.table_name(index.is_deployable(snapshot)))
        with self.writing(f"{table.db}.{table.name}"):
            return super().evaluate(snapshot, **kwargs)

    def audit(self, snapshot: Snapshot, **kwargs: Any) -> list[Any]:
        results = super().audit(snapshot, **kwargs)
        names = [name for name, *_ in named_audits(snapshot.node)]
        interval = (to_timestamp(kwargs.get("start") or 0), to_timestamp(kwargs.get("end") or 0))
        for name, result in zip(names, results, strict=True):
            if not result.skipped:
                hidden = hidden_columns(snapshot, kwargs.get("snapshots") or {})
                self.sink(self._audited(snapshot, name, result, interval, hidden))
        return results

    def _audited(
        self, snapshot: Snapshot, name: str, result: Any, interval: Interval, hidden: frozenset[str]
    ) -> Audited:
        adapter = self.get_adapter(snapshot.model_gateway)
        columns: tuple[str, ...] = ()
        sample: tuple[tuple[Any, ...], ...] = ()
        if result.count:
            rows = adapter.fetchall(result.query.limit(self.sample_size))
            columns, sample = _shown(
                [str(column[0]) for column in adapter.cursor.description],
                rows,
                [looked_at(result), {grain.name.lower() for grain in getattr(snapshot.node, "grains", ())}],
                shows_hidden(result.query, hidden),
            )
        return Audited(
            fqn=snapshot.name,
            check_name=name,
            audit=result.audit.name,
            interval=interval,
            rows=result.count or 0,
            blocking=result.blocking,
            query=result.query.sql(adapter.dialect, pretty=True),
            columns=columns,
            sample=sample,
        )


def looked_at(result: Any) -> set[str]:
    """The columns that an audit is about: its arguments', and those that its condition names."""
    arguments = [value for value in result.audit_args.values() if isinstance(value, exp.Expression)]
    where = [result.query.args[part] for part in ("where", "having", "qualify") if result.query.args.get(part)]
    return {column.name.lower() for part in (*arguments, *where) for column in part.find_all(exp.Column)}


def _shown(
    columns: list[str], rows: list[tuple[Any, ...]], first: list[set[str]], hidden: frozenset[str]
) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    """What the audit is about before what tells rows apart before the rest; without what is hidden."""
    shown = [position for position, name in enumerate(columns) if name.lower() not in hidden]
    order = sorted(shown, key=lambda position: [columns[position].lower() not in names for names in first])
    return tuple(columns[i] for i in order), tuple(tuple(row[i] for i in order) for row in rows)


def named_audits(node: Any) -> list[tuple[str, Audit, str, bool]]:
    """A node's audits in SQLMesh's order: (unique check name, audit, its arguments as text, blocking)."""
    described, about = [], []
    for audit, arguments in node.audits_with_args:
        given = {name: value for name, value in arguments.items() if name != "blocking"}
        text = ", ".join(f"{name} := {value.sql()}" for name, value in given.items())
        flag = arguments.get("blocking")
        blocking = audit.blocking if flag is None else flag.sql().lower() == "true"
        columns = {name: [c.name for c in value.find_all(exp.Column)] for name, value in given.items()}
        rest = ", ".join(f"{name} := {value.sql()}" for name, value in given.items() if not columns[name])
        about.append((audit.name, [column for found in columns.values() for column in found], rest))
        described.append((audit, text, blocking))
    return [(name, *told) for name, told in zip(check_names(about), described, strict=True)]


def failed_audits(error: BaseException) -> list[tuple[str, int]]:
    """(audit, failing rows) of the blocking audits that stopped a model; empty when something else did."""
    if not isinstance(error, NodeAuditsErrors):
        return []
    return [(audit.audit_name, audit.count) for audit in error.errors]
