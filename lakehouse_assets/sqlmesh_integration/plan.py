"""What a deploy would change, as plain data that reads well in a terminal and on a Dagster page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlmesh.core.plan import Plan
    from sqlmesh.core.snapshot import Snapshot

EXPLAINED = {
    "BREAKING": "breaking: what reads it is computed again too",
    "NON_BREAKING": "not breaking",
    "FORWARD_ONLY": "forward only: what is there stays as it is",
    "INDIRECT_BREAKING": "breaking, by a model upstream",
    "INDIRECT_NON_BREAKING": "not breaking, by a model upstream",
    "METADATA": "description, audits or schedule only: nothing is computed",
}


FOR_READERS = "breaking for readers"


@dataclass(frozen=True)
class ModelChange:
    name: str
    change: str
    """added, removed, modified, modified indirectly, metadata"""
    category: str = ""
    is_breaking: bool = False
    breaks_readers: bool = False
    """A column is dropped or holds less than before, or the whole model goes."""
    columns_added: tuple[str, ...] = ()
    columns_dropped: tuple[str, ...] = ()
    columns_retyped: tuple[str, ...] = ()
    """`column: old type → new type`"""
    loses_data: str = ""
    """Why rows that are there now would be wrong after it; empty when none would."""


@dataclass(frozen=True)
class Backfill:
    name: str
    start: datetime
    end: datetime
    intervals: int
    """0 for a model that is computed as a whole, as a full one or a view, whatever its cron."""


@dataclass(frozen=True)
class PlanSummary:
    """A plan for one environment; `is_empty` when the environment is as the files are."""

    environment: str
    is_new: bool
    changes: tuple[ModelChange, ...] = ()
    backfills: tuple[Backfill, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    takes_over_from: tuple[str, ...] = ()
    """The environments that own a table now which this one would own."""
    lost: tuple[str, ...] = ()
    """A line for each table and view that somebody dropped behind SQLMesh's back."""
    is_unfinished: bool = False
    """An earlier plan for this environment was cut off: applying this one finishes it."""

    @property
    def is_empty(self) -> bool:
        return not (self.changes or self.is_new or self.is_unfinished or self.lost)

    @property
    def is_breaking(self) -> bool:
        return any(change.is_breaking for change in self.changes)

    def of(self, change: str) -> tuple[ModelChange, ...]:
        return tuple(found for found in self.changes if found.change == change)

    @property
    def _note(self) -> str:
        return " (new)" if self.is_new else " (an earlier deploy was cut off)" if self.is_unfinished else ""

    def lines(self) -> Iterator[str]:
        """The plan in words, a line a fact; for a terminal."""
        yield f"Environment {self.environment}{self._note}"
        if not self.changes:
            yield "  no model changes"
        for change in self.changes:
            yield f"  {_SIGNS.get(change.change, ' ')} {change.name}: {change.change}" + (
                f", {change.category}" if change.category else ""
            )
            yield from (f"      {fact}" for fact in _facts(change))
        yield from (f"  ! {line}" for line in self.lost)
        for backfill in self.backfills:
            yield f"  ▸ {backfill.name}: {_range(backfill)}"

    def markdown(self) -> str:
        """The same as tables; for a materialization's metadata or a pull request."""
        parts = [f"**Environment `{self.environment}`**{self._note}"]
        if self.changes:
            rows = [
                f"| `{c.name}` | {c.change} | {c.category or '—'} | {'; '.join(_facts(c)) or '—'} |"
                for c in self.changes
            ]
            parts.append("\n".join(["| model | change | effect | columns |", "|---|---|---|---|", *rows]))
        else:
            parts.append("No model changes.")
        if self.lost:
            parts.append("\n".join(f"- {line}" for line in self.lost))
        if self.backfills:
            rows = [f"| `{b.name}` | {_range(b)} |" for b in self.backfills]
            parts.append("\n".join(["| to compute | intervals |", "|---|---|", *rows]))
        return "\n\n".join(parts)


_SIGNS = {"added": "+", "removed": "-", "modified": "~", "modified indirectly": "↳", "metadata": "·"}


def _facts(change: ModelChange) -> Iterator[str]:
    if change.columns_added:
        yield f"columns added: {', '.join(change.columns_added)}"
    if change.columns_dropped:
        yield f"columns dropped: {', '.join(change.columns_dropped)}"
    if change.columns_retyped:
        yield f"columns retyped: {', '.join(change.columns_retyped)}"
    if change.loses_data:
        yield change.loses_data


def _range(backfill: Backfill) -> str:
    if not backfill.intervals:
        return "as a whole"
    many = f"{backfill.intervals:,} intervals" if backfill.intervals > 1 else "1 interval"
    return f"{backfill.start:%Y-%m-%d %H:%M} to {backfill.end:%Y-%m-%d %H:%M} ({many})"


def summarize(plan: Plan, left_alone: Collection[str] = ()) -> PlanSummary:
    """What SQLMesh's plan says, without what would be computed of the models (by full name) in `left_alone`."""
    difference = plan.context_diff
    changes = [
        *(_change(s, None, "added") for s in difference.snapshots.values() if s.snapshot_id in difference.added),
        *(
            ModelChange(_name(s_id.name), "removed", FOR_READERS, is_breaking=True, breaks_readers=True)
            for s_id in difference.removed_snapshots
        ),
    ]
    for name, (new, old) in difference.modified_snapshots.items():
        if new.is_model:
            changes.append(_change(new, old, _modified(plan, name)))
    return PlanSummary(
        environment=difference.environment,
        is_new=difference.is_new_environment,
        is_unfinished=not difference.is_new_environment and difference.is_unfinalized_environment,
        changes=tuple(sorted(changes, key=lambda change: (list(_SIGNS).index(change.change), change.name))),
        backfills=tuple(_backfills(plan, left_alone)),
    )


def _modified(plan: Plan, name: str) -> str:
    if plan.context_diff.directly_modified(name):
        return "modified"
    return "modified indirectly" if plan.context_diff.indirectly_modified(name) else "metadata"


def _change(new: Snapshot, old: Snapshot | None, change: str) -> ModelChange:
    from lakehouse_assets.sqlmesh_integration.widening import widens

    category = new.change_category.name if new.change_category is not None and old is not None else ""
    before = _types(old) if old else {}
    after = _types(new) if old else {}
    dropped = sorted(set(before) - set(after))
    retyped = [name for name in after if name in before and before[name] != after[name]]
    loses = category == "FORWARD_ONLY" and bool(retyped)
    breaks_readers = bool(dropped) or not all(widens(before[name], after[name]) for name in retyped)
    is_breaking = category in ("BREAKING", "INDIRECT_BREAKING")
    told = EXPLAINED.get(category, category.lower())
    if breaks_readers and not is_breaking:
        told = f"{FOR_READERS}; {told}" if category == "FORWARD_ONLY" else FOR_READERS
    return ModelChange(
        name=_name(new.name),
        change=change,
        category=told,
        is_breaking=is_breaking or breaks_readers,
        breaks_readers=breaks_readers,
        columns_added=tuple(sorted(set(after) - set(before))),
        columns_dropped=tuple(dropped),
        columns_retyped=tuple(f"{name}: {_sql(old, before[name])} → {_sql(new, after[name])}" for name in retyped),
        loses_data="a retyped column of a forward-only change reads NULL for the rows that are there" if loses else "",
    )


def _types(snapshot: Snapshot) -> dict[str, exp.DataType]:
    return dict(snapshot.model.columns_to_types or {})


def _sql(snapshot: Snapshot | None, kind: exp.DataType) -> str:
    return kind.sql(snapshot.model.dialect if snapshot else None)


def _backfills(plan: Plan, left_alone: Collection[str]) -> Iterator[Backfill]:
    from lakehouse_assets.sqlmesh_integration.engine import counted_unit
    from lakehouse_assets.sqlmesh_integration.ranges import from_ms

    for missing in plan.missing_intervals:
        if missing.snapshot_id.name in left_alone:
            continue
        first, last = missing.intervals[0][0], missing.intervals[-1][1]
        snapshot = plan.snapshots[missing.snapshot_id]
        count = len(missing.intervals) if counted_unit(snapshot) else 0
        yield Backfill(_name(missing.snapshot_id.name), from_ms(first), from_ms(last), count)


def _name(fqn: str) -> str:
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    return table_ref(fqn).name
