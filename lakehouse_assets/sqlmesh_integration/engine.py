"""Every call into SQLMesh that its documentation does not promise, for version 0.236.4.

Nothing else in this package reaches behind SQLMesh's public API, and tests/sqlmesh_integration/
test_engine_contract.py says which of these promises a newer version breaks.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlmesh import Context
from sqlmesh.core.config import Config
from sqlmesh.core.config.loader import load_configs
from sqlmesh.core.audit import Audit
from sqlmesh.core.console import NoopConsole, set_console
from sqlmesh.core.environment import EnvironmentNamingInfo
from sqlmesh.core.lineage import CACHE as LINEAGE_CACHE
from sqlmesh.core.lineage import column_dependencies
from sqlmesh.core.model import Model
from sqlmesh.core.plan.evaluator import BuiltInPlanEvaluator
from sqlmesh.core.scheduler import Scheduler
from sqlmesh.core.snapshot import DeployabilityIndex, Snapshot, SnapshotEvaluator
from sqlmesh.core.snapshot.definition import QualifiedViewName
from sqlmesh.core.state_sync.db.interval import _intervals_to_df
from sqlmesh.utils import CorrelationId
from sqlmesh.utils.date import make_exclusive, to_timestamp
from sqlmesh.utils.errors import NodeAuditsErrors, SQLMeshError

if TYPE_CHECKING:
    from sqlmesh.core.plan import Plan

    from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject

Interval = tuple[int, int]
"""[start, end) in milliseconds since the epoch, UTC: how SQLMesh keeps intervals."""


def sqlmesh_errors() -> tuple[type[BaseException], ...]:
    """What reading a project or its state raises when the project, or the state, is at fault."""
    from sqlglot.errors import SqlglotError

    errors: list[type[BaseException]] = [SQLMeshError, SqlglotError, ValueError, TypeError, KeyError]
    errors += [OSError, ImportError, SyntaxError, NameError, AttributeError]
    try:
        import psycopg2

        errors.append(psycopg2.Error)
    except ImportError:  # the state is then kept elsewhere
        pass
    try:
        import duckdb

        errors.append(duckdb.Error)
    except ImportError:
        pass
    return tuple(errors)


# ---------------------------------------------------------------------------------- one context per process


class Session:
    """One project's SQLMesh context. Only the thread that holds `session()` may use it."""

    def __init__(self, project: SqlmeshProject):
        self.project = project
        self.console = EventConsole()
        set_console(self.console)
        configs = load_configs(None, Config, str(project.folder))
        for folder, config in configs.items():
            anchor_files(config, folder)
        self.context = Context(config=configs, gateway=project.gateway, load=False)
        self.context.console = self.console
        self._loaded_key: str | None = None

    def loaded(self) -> Context:
        """The context with the project's files as they are now: for manifests and plans, not for runs."""
        key = self.project.content_key()
        if self._loaded_key != key:
            LINEAGE_CACHE.clear()
            self._loaded_key = None
            self.context.load()
            self._loaded_key = key
        return self.context

    def ready_to_run(self) -> Context:
        """The context with what stored models need: Python code beside the project, custom kinds."""
        if str(self.project.folder) not in sys.path:
            sys.path.insert(0, str(self.project.folder))
        self.context._load_materializations()
        return self.context


def anchor_files(config: Config, folder: Path) -> None:
    """Read a relative DuckDB file from the project's folder, as SQLMesh's own command line does there.

    Against Dagster's working directory it would be a new file: an empty prod, with no error.
    """
    gateways = config.gateways.values() if isinstance(config.gateways, dict) else [config.gateways]
    for gateway in gateways:
        for connection in (gateway.connection, gateway.state_connection, gateway.test_connection):
            database = getattr(connection, "database", None)
            if connection is not None and connection.type_ == "duckdb" and _is_relative_file(database):
                connection.database = str(folder / database)


def _is_relative_file(database: object) -> bool:
    if not isinstance(database, str) or not database or ":" in database:
        return False
    return not Path(database).is_absolute()


_lock = threading.RLock()
_sessions: dict[tuple[str, str | None], Session] = {}


@contextmanager
def session(project: SqlmeshProject) -> Iterator[Session]:
    """The process's one context for this project, one user at a time.

    Two contexts at work at once in a process break each other. Connections close at the end: an open DuckDB
    file, as state or as warehouse, locks every other process out.
    """
    identity = (str(project.folder), project.gateway)
    with _lock:
        if identity not in _sessions:
            _sessions[identity] = Session(project)
        current = _sessions[identity]
        current.project = project
        set_console(current.console)
        evaluator = RecordingEvaluator.of(current.context)
        current.context._snapshot_evaluator = evaluator
        state = current.context._state_sync
        if state is not None:
            state.clear_cache()  # its snapshots are up to 120 s old; another process may have deployed since
        try:
            yield current
        finally:
            current.console.sink = evaluator.sink = _nowhere
            current.context.close()


# ------------------------------------------------------------------------------------- what a run tells us


@dataclass(frozen=True)
class Planned:
    """What will be computed, after signals and batching and before anything is."""

    batches: Mapping[str, Sequence[Interval]]


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


@dataclass(frozen=True)
class NodesSkipped:
    fqns: frozenset[str]


@dataclass(frozen=True)
class Logged:
    level: str
    text: str


Sink = Callable[[Any], None]


def _nowhere(event: Any) -> None:
    """Where events go between runs."""


class EventConsole(NoopConsole):
    """SQLMesh's console, as a stream of the events above. Called in the thread that computes."""

    def __init__(self) -> None:
        self.sink: Sink = _nowhere

    def start_evaluation_progress(self, batched_intervals: Any, *args: Any, **kwargs: Any) -> None:
        self.sink(Planned({snapshot.name: list(batches) for snapshot, batches in batched_intervals.items()}))

    def update_snapshot_evaluation_progress(
        self, snapshot: Any, interval: Any, batch_idx: int, duration_ms: int | None, *args: Any, **kwargs: Any
    ) -> None:
        if duration_ms is not None:  # None: it failed, and log_failed_models tells how
            self.sink(BatchDone(snapshot.name, interval, duration_ms))

    def log_failed_models(self, errors: Any) -> None:
        for error in errors:
            name = getattr(error.node, "snapshot_name", None) or getattr(error.node, "name", str(error.node))
            self.sink(NodeFailed(name, error.__cause__ or error))

    def log_skipped_models(self, snapshot_names: Any) -> None:
        if snapshot_names:
            self.sink(NodesSkipped(frozenset(snapshot_names)))

    def log_warning(self, short_message: str, long_message: str | None = None) -> None:
        self.sink(Logged("warning", short_message.strip()))

    def log_error(self, message: str, *args: Any, **kwargs: Any) -> None:
        self.sink(Logged("error", str(message).strip()))


class RecordingEvaluator(SnapshotEvaluator):
    """SQLMesh's evaluator that tells every audit's result, with a few of the rows that failed it."""

    sink: Sink = staticmethod(_nowhere)
    sample_size = 5

    @classmethod
    def of(cls, context: Context) -> RecordingEvaluator:
        existing = context._snapshot_evaluator
        return existing if isinstance(existing, cls) else cls._wrapping(context.snapshot_evaluator)

    @classmethod
    def _wrapping(cls, plain: SnapshotEvaluator) -> RecordingEvaluator:
        return cls(plain.adapters, plain.ddl_concurrent_tasks, plain.selected_gateway)

    def set_correlation_id(self, correlation_id: CorrelationId) -> SnapshotEvaluator:
        correlated = self._wrapping(super().set_correlation_id(correlation_id))
        correlated.sink = self.sink
        return correlated

    def audit(self, snapshot: Snapshot, **kwargs: Any) -> list[Any]:
        results = super().audit(snapshot, **kwargs)
        names = [name for name, *_ in named_audits(snapshot.node)]
        interval = (to_timestamp(kwargs.get("start") or 0), to_timestamp(kwargs.get("end") or 0))
        for name, result in zip(names, results, strict=True):
            if not result.skipped:
                self.sink(self._audited(snapshot, name, result, interval))
        return results

    def _audited(self, snapshot: Snapshot, name: str, result: Any, interval: Interval) -> Audited:
        adapter = self.get_adapter(snapshot.model_gateway)
        columns: tuple[str, ...] = ()
        sample: tuple[tuple[Any, ...], ...] = ()
        if result.count:
            frame = adapter.fetchdf(result.query.limit(self.sample_size))
            columns = tuple(str(column) for column in frame.columns)
            sample = tuple(tuple(row) for row in frame.itertuples(index=False))
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


def named_audits(node: Any) -> list[tuple[str, Audit, str, bool]]:
    """A node's audits in SQLMesh's order: (unique check name, audit, its arguments as text, blocking)."""
    described = []
    for audit, arguments in node.audits_with_args:
        given = {name: value for name, value in arguments.items() if name != "blocking"}
        text = ", ".join(f"{name} := {value.sql()}" for name, value in given.items())
        flag = arguments.get("blocking")
        blocking = audit.blocking if flag is None else flag.sql().lower() == "true"
        described.append((audit, text, blocking))
    repeated = {name for name, count in Counter(audit.name for audit, *_ in described).items() if count > 1}
    taken: Counter[str] = Counter()
    named = []
    for audit, text, blocking in described:
        raw = f"{audit.name}_{text}" if audit.name in repeated else audit.name
        name = re.sub(r"[^A-Za-z0-9_]+", "_", raw).strip("_")[:80]
        taken[name] += 1
        named.append((name if taken[name] == 1 else f"{name}_{taken[name]}", audit, text, blocking))
    return named


def failed_audits(error: BaseException) -> list[tuple[str, int]]:
    """(audit, failing rows) of the blocking audits that stopped a model; empty when something else did."""
    if not isinstance(error, NodeAuditsErrors):
        return []
    return [(audit.audit_name, audit.count) for audit in error.errors]


# ---------------------------------------------------------------------------------------- reading a project


def environment_naming(context: Context, environment: str) -> EnvironmentNamingInfo:
    return EnvironmentNamingInfo.from_environment_catalog_mapping(
        context.environment_catalog_mapping,
        name=EnvironmentNamingInfo.sanitize_name(environment),
        suffix_target=context.config.environment_suffix_target,
        gateway_managed=context.config.gateway_managed_virtual_layer,
    )


def view_name(fqn: str, naming: EnvironmentNamingInfo, dialect: str | None) -> str:
    from sqlglot import exp

    table = exp.to_table(fqn)
    view = QualifiedViewName(catalog=table.catalog or None, schema_name=table.db or None, table=table.name)
    return view.for_environment(naming, dialect=dialect)


def column_sources(context: Context, fqn: str, column: str) -> dict[str, set[str]]:
    from sqlglot import exp

    return column_dependencies(context, fqn, exp.column(column, quoted=True))


def exclusive_end(model: Model) -> str | None:
    return make_exclusive(model.end).isoformat() if model.end else None


# --------------------------------------------------------------------------------- state and its intervals


def forget_intervals(context: Context, ranges: Mapping[Snapshot, Sequence[Interval]], dev: set[str]) -> None:
    """Write to the state that these intervals are not computed, for every snapshot that shares the table.

    `dev` names the snapshots whose table is a development one: the state keeps their intervals apart and
    its own `remove_intervals` never touches them. One call of that takes one interval for each snapshot (it
    keeps the last of several, silently), hence the rounds.
    """
    state: Any = context.state_sync
    for turn in range(max((len(found) for found in ranges.values()), default=0)):
        now = [(snapshot, found[turn]) for snapshot, found in ranges.items() if turn < len(found)]
        shared = [(snapshot, interval) for snapshot, interval in now if snapshot.name not in dev]
        if shared:
            state.remove_intervals(shared, remove_shared_versions=True)
        apart = [(snapshot, interval) for snapshot, interval in now if snapshot.name in dev]
        if apart:
            intervals = state.state_sync.interval_state
            intervals.engine_adapter.insert_append(
                intervals.intervals_table,
                _intervals_to_df(apart, is_dev=True, is_removed=True),
                target_columns_to_types=intervals._interval_columns_to_types,
                track_rows_processed=False,
            )


def run_merged(
    scheduler: Scheduler,
    environment: EnvironmentNamingInfo,
    intervals: dict[Snapshot, list[Interval]],
    deployability: DeployabilityIndex,
    stop: Callable[[], bool],
) -> None:
    """Compute exactly these intervals, in the order of the models; failures come through the console."""
    scheduler.run_merged_intervals(
        merged_intervals=intervals,
        deployability_index=deployability,
        environment_naming_info=environment,
        circuit_breaker=stop,
        start=min(start for found in intervals.values() for start, _ in found),
        end=max(end for found in intervals.values() for _, end in found),
        run_environment_statements=True,
    )


class PlanEvaluator(BuiltInPlanEvaluator):
    """SQLMesh's own, that also creates the tables of models which have no interval to fill.

    SQLMesh leaves them out when other models are filled, and the promotion of their views then fails.
    """

    def visit_virtual_layer_update_stage(self, stage: Any, plan: Any) -> None:
        promoted = [stage.all_snapshots[info.snapshot_id] for info in stage.promoted_snapshots]
        self.snapshot_evaluator.create(
            promoted, stage.all_snapshots, deployability_index=stage.deployability_index
        )
        super().visit_virtual_layer_update_stage(stage, plan)


def apply_plan(context: Context, plan: Plan) -> None:
    PlanEvaluator(
        state_sync=context.state_sync,
        snapshot_evaluator=context.snapshot_evaluator,
        create_scheduler=context.create_scheduler,
        default_catalog=context.default_catalog,
        console=context.console,
    ).evaluate(plan.to_evaluatable())
