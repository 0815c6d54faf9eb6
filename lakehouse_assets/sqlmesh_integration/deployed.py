"""What is deployed in one environment: its models and their tables, who owns them, what is due, computed, forgotten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from sqlmesh.core.snapshot import DeployabilityIndex
from sqlmesh.utils.date import now_timestamp

from lakehouse_assets.sqlmesh_integration import engine
from lakehouse_assets.sqlmesh_integration.deployed_model import DeployedModel, grain_columns, storage_columns
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref
from lakehouse_assets.sqlmesh_integration.model_intervals import ModelIntervals
from lakehouse_assets.sqlmesh_integration.owners import Ownership, table_users
from lakehouse_assets.sqlmesh_integration.ranges import Range, as_datetimes, common, from_ms, merged

if TYPE_CHECKING:
    from sqlmesh.core.engine_adapter.base import EngineAdapter
    from sqlmesh.core.snapshot import Snapshot, SnapshotId, SnapshotTableInfo


class NotDeployedError(LookupError):
    """The environment does not exist yet: nothing was ever deployed to it."""


class Deployment:
    """The snapshots of `environment` that computing `names` needs; all of them when `names` is None.

    `ownership` says who computes a table that several environments use. `judged_as` looks at the same models as that
    environment would have them: which table each reads, and what is missing in it.
    """

    def __init__(
        self,
        session: engine.Session,
        environment: str,
        names: Collection[str] | None = None,
        ownership: Ownership = Ownership(),
        judged_as: str | None = None,
    ):
        self.context = session.ready_to_run()
        self.state = self.context.state_sync
        stored = self.state.get_environment(engine.environment_name(environment))
        if stored is None:
            raise NotDeployedError(
                f"The environment {environment} does not exist: deploy the project to it, then materialize again."
            )
        self.environment = stored
        self.ownership = ownership
        self.now = now_timestamp()
        infos = {_name(info): info for info in stored.snapshots}
        wanted = set(infos) if names is None or stored.name != "prod" else set(names) & set(infos)
        wanted |= {name for name, info in infos.items() if info.is_audit and _parents(info) & wanted}
        snapshots = self.state.get_snapshots(_with_ancestors(infos, wanted))
        self.scheduler = self.context.create_scheduler(snapshots.values(), engine.RecordingEvaluator.of(self.context))
        engine.read_intervals(self.state, snapshots.values())
        self.snapshots: dict[str, Snapshot] = {_name(s): s for s in snapshots.values()}
        self.names = {snapshot.name: name for name, snapshot in self.snapshots.items()}
        as_prod = (judged_as or stored.name) == "prod"
        self.index = DeployabilityIndex.all_deployable() if as_prod else DeployabilityIndex.create(snapshots)

    # ------------------------------------------------------------------------------------------- tables

    def table(self, name: str) -> str:
        """The physical table behind this model's view."""
        snapshot = self.snapshots[name]
        return snapshot.table_name(is_deployable=self.index.is_representative(snapshot))

    def written(self, name: str) -> str:
        """The physical table that computing this model here writes."""
        snapshot = self.snapshots[name]
        return snapshot.table_name(is_deployable=self.index.is_deployable(snapshot))

    def adapter(self, name: str) -> EngineAdapter:
        return self.scheduler.snapshot_evaluator.get_adapter(self.snapshots[name].model_gateway)

    @cached_property
    def _users(self) -> dict[str, set[str]]:
        return table_users(self.state.get_environments())

    def owner(self, name: str) -> str:
        """The environment that may compute this model's table."""
        if self.environment.name == next(iter(self.ownership.precedence), None):
            return self.environment.name  # whoever else uses it
        table = self.table(name)
        return self.ownership.owner(table, self._users.get(table, set()) | {self.environment.name})

    def models(self) -> dict[str, DeployedModel]:
        """Every deployed model with a table or view of its own, by `schema.table`."""
        real = {n: s for n, s in self.snapshots.items() if s.is_model and not s.is_symbolic}
        return {
            name: DeployedModel(
                name=name,
                fqn=snapshot.name,
                kind=snapshot.model_kind_name.value if snapshot.model_kind_name else "",
                version=snapshot.version or "",
                physical_table=self.table(name),
                owner=self.owner(name),
                data_hash=snapshot.fingerprint.data_hash,
                computed=as_datetimes(self.computed(snapshot)),
                missing=as_datetimes(self.intervals(name).missing()),
                altered_at=from_ms(snapshot.last_altered_ts) if snapshot.last_altered_ts else None,
                upstream=tuple(sorted(self._read(snapshot)[0])),
                external=tuple(sorted(self._read(snapshot)[1])),
                is_view=snapshot.is_view,
                view=self._view(snapshot),
                tags=tuple(snapshot.model.tags),
                description=snapshot.model.description or "",
                columns=dict(snapshot.model.column_descriptions),
                partitioned_by=storage_columns(snapshot.model),
                hidden=self.hidden(name),
                grain=grain_columns(snapshot.model),
                interval_unit=engine.counted_unit(snapshot),
                audits=tuple(
                    f"{audit.name}({given})" + ("" if stops else ", warns only")
                    for _, audit, given, stops in engine.named_audits(snapshot.model)
                ),
            )
            for name, snapshot in real.items()
        }

    def hidden(self, name: str) -> frozenset[str]:
        """The columns of a model that nothing may show that shows rows."""
        return engine.hidden_columns(self.snapshots[name], {s.name: s for s in self.snapshots.values()})

    def _view(self, snapshot: Snapshot) -> str:
        naming = self.environment.naming_info
        return table_ref(snapshot.qualified_view_name.for_environment(naming, dialect="duckdb")).name

    def _read(self, snapshot: Snapshot) -> tuple[set[str], set[str]]:
        """Names of the models and of the other tables that this one reads, embedded models seen through."""
        models: set[str] = set()
        others: set[str] = set()
        for fqn in snapshot.model.depends_on - {snapshot.name}:
            parent = self.snapshots.get(table_ref(fqn).name)
            if parent is None or parent.is_external:
                others.add(table_ref(fqn).name)
            elif parent.is_symbolic:
                through = self._read(parent)
                models |= through[0]
                others |= through[1]
            else:
                models.add(table_ref(fqn).name)
        return models, others

    def parents(self, name: str) -> set[str]:
        """The models that this one, or this standalone audit, reads directly or through embedded models."""
        return _parents(self.snapshots[name])

    @cached_property
    def order(self) -> list[str]:
        """The models, each after those it reads."""
        return [_name(snapshot) for snapshot in engine.in_order(self.snapshots.values()) if snapshot.is_model]

    # ---------------------------------------------------------------------------------------- intervals

    def intervals(self, name: str) -> ModelIntervals:
        """A model's, or a standalone audit's."""
        snapshot = self.snapshots[name]
        return ModelIntervals(snapshot, self.computed(snapshot), self._by_id, self.now)

    def computed(self, snapshot: Snapshot) -> list[Interval]:
        """What the state held as computed when it was last read."""
        return snapshot.intervals if self.index.is_representative(snapshot) else snapshot.dev_intervals

    @cached_property
    def _by_id(self) -> dict[SnapshotId, Snapshot]:
        return {snapshot.snapshot_id: snapshot for snapshot in self.snapshots.values()}

    def computed_now(self, name: str) -> tuple[Range, ...]:
        """What the state holds as computed now, read again."""
        engine.read_intervals(self.state, [self.snapshots[name]])
        return as_datetimes(self.computed(self.snapshots[name]))

    def ticked(self) -> set[str]:
        """The models whose `auto_restatement_cron` has ticked. As in SQLMesh, only prod's ever do."""
        if self.environment.name != "prod":
            return set()
        return {name for name, s in self.snapshots.items() if s.get_next_auto_restatement_interval(self.now)}

    def restate(self) -> None:
        """Mark what has ticked, and all that reads it, as missing; needs the whole environment."""
        engine.restate_due(self.context, dict(self.scheduler.snapshots), self.now)

    def downstream(self, names: Collection[str]) -> set[str]:
        """Every table and view here that reads these models, directly or not."""
        reached = {self.snapshots[name].name for name in names}
        for snapshot in engine.in_order(self.snapshots.values()):
            if any(parent.name in reached for parent in snapshot.parents):
                reached.add(snapshot.name)
        found = {self.names[fqn] for fqn in reached} - set(names)
        return {name for name in found if self.snapshots[name].is_model and not self.snapshots[name].is_symbolic}

    def due(self, names: Collection[str]) -> dict[str, list[Interval]]:
        """What SQLMesh's own `run` would compute of these models now, look-back included."""
        missing = engine.missing_intervals(self.scheduler, self.index, self.now)
        found = {self.names[snapshot.name]: list(intervals) for snapshot, intervals in missing.items()}
        due = {name: [*found.get(name, []), *self.intervals(name).holes()] for name in names}
        return {name: intervals for name, intervals in due.items() if intervals}

    def ancestors(self, name: str) -> set[str]:
        """Every model here that this one reads, directly or not."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            parents = {parent for parent in self.parents(waiting.pop()) if parent in self.snapshots} - found
            found |= parents
            waiting += parents
        return found

    def absent(self) -> engine.Absent:
        """What of these models is not in the warehouse, by full name."""
        shown = {info.snapshot_id for info in self.environment.promoted_snapshots}
        snapshots = [snapshot for snapshot in self.snapshots.values() if snapshot.snapshot_id in shown]
        evaluator = self.scheduler.snapshot_evaluator
        return engine.absent(evaluator, snapshots, self.index, self.environment.naming_info)

    def changed(self, told: Mapping[str, tuple[str, int, Mapping[str, str]]]) -> dict[str, str]:
        """What somebody else did to these models' tables since an event told table, rows and columns of them."""
        found: dict[str, str] = {}
        by_adapter: dict[EngineAdapter, dict[str, engine.Remembered]] = {}
        for name, (table, rows, columns) in told.items():
            if name in self.snapshots and table == self.table(name) == self.written(name):
                by_adapter.setdefault(self.adapter(name), {})[name] = engine.Remembered(table, rows, columns)
        for adapter, remembered in by_adapter.items():
            found |= engine.changed(adapter, remembered)
        return found

    def drop(self, name: str) -> None:
        """Drop a model's physical table."""
        self.adapter(name).drop_table(self.table(name))

    def make_schemas(self, names: Collection[str]) -> None:
        """Make the physical schemas of these models' tables, which SQLMesh makes in a plan only."""
        self.scheduler.snapshot_evaluator.create_physical_schemas([self.snapshots[n] for n in names], self.index)

    def show(self, names: Collection[str]) -> None:
        """Make these models' views in the environment again."""
        if not names:
            return
        snapshots = [self.snapshots[name] for name in names]
        evaluator, naming = self.scheduler.snapshot_evaluator, self.environment.naming_info
        evaluator.promote(snapshots, naming, deployability_index=self.index, snapshots=self._by_id)

    def restart(self, name: str) -> None:
        """Forget all of a model's intervals, here too: SQLMesh then replaces its table at the next insert."""
        snapshot = self.snapshots[name]
        history = [(start, end) for start, end in self.computed(snapshot)]
        self._forget({snapshot: history})
        for interval in history:
            snapshot.remove_interval(interval)

    def forget(self, ranges: Mapping[str, Sequence[Interval]]) -> None:
        """Mark these intervals not computed, durably; those not computed anyway cost nothing.

        A model that keeps history of its own never loses its last interval: SQLMesh empties its table then.
        """
        computed = {
            self.snapshots[name]: found
            for name, intervals in ranges.items()
            if (found := merged(common(intervals, self.computed(self.snapshots[name]))))
            and not (_keeps_history(self.snapshots[name]) and found == self.computed(self.snapshots[name]))
        }
        self._forget(computed)

    def _forget(self, computed: Mapping[Snapshot, Sequence[Interval]]) -> None:
        dev = {s.name for s in computed if not self.index.is_representative(s)}
        engine.forget_intervals(self.context, computed, dev)

    def compute(self, work: Mapping[str, Sequence[Interval]], stop: Callable[[], bool]) -> None:
        """Compute exactly this; what happens is told through the session's sink."""
        intervals = {self.snapshots[name]: list(found) for name, found in work.items() if found}
        engine.run_merged(self.scheduler, self.environment.naming_info, intervals, self.index, stop)


def _name(node: Snapshot | SnapshotTableInfo) -> str:
    """`schema.table` of a model; a standalone audit is no table."""
    return node.name if node.is_audit else table_ref(node.name).name


def _parents(node: Snapshot | SnapshotTableInfo) -> set[str]:
    """What it reads directly, and through embedded models."""
    return {table_ref(parent.name).name for parent in node.parents}


def _with_ancestors(infos: Mapping[str, SnapshotTableInfo], names: Collection[str]) -> list[SnapshotTableInfo]:
    by_id = {info.snapshot_id: info for info in infos.values()}
    found: dict[str, SnapshotTableInfo] = {}
    waiting = [infos[name] for name in names]
    while waiting:
        info = waiting.pop()
        if info.name not in found:
            found[info.name] = info
            waiting += [by_id[parent] for parent in info.parents if parent in by_id]
    return list(found.values())


def _keeps_history(snapshot: Snapshot) -> bool:
    """Whether its query gives a part of its table only, which SQLMesh replaces whole where nothing is computed."""
    return bool(snapshot.is_scd_type_2 or snapshot.is_incremental_unmanaged or snapshot.is_incremental_by_partition)
