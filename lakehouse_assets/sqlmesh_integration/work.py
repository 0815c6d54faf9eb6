"""Which intervals of which models a run computes, and why it leaves the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lakehouse_assets.sqlmesh_integration.deployment import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.outcome import State
from lakehouse_assets.sqlmesh_integration.ranges import Range, merged
from lakehouse_assets.sqlmesh_integration.request import Request

Touched = Mapping[str, Sequence[Range] | None]
"""By `schema.table`: the time ranges of rows that changed upstream; None for any row."""


@dataclass
class Work:
    intervals: dict[str, list[Interval]] = field(default_factory=dict)
    left: dict[str, tuple[State, str]] = field(default_factory=dict)
    """Chosen but not computed: (state, reason in words)."""

    def leave(self, name: str, state: State, reason: str) -> None:
        self.left[name] = (state, reason)


def decide(request: Request, deployment: Deployment, touched: Touched) -> Work:
    """What to compute. Writes the touched ranges down as missing first, those of models not chosen too."""
    work = Work()
    chosen = [name for name in request.keys if name in deployment.snapshots]
    if request.downstream:
        chosen += sorted(deployment.downstream(chosen))
    for name in request.keys:
        if name not in deployment.snapshots:
            reason = f"it is not deployed in {deployment.environment.name}: deploy, then materialize it again"
            work.leave(name, "undeployed", reason)
    ours = [name for name in chosen if _is_ours(name, deployment, work)]
    due = {} if request.recomputes else deployment.due(ours)  # before the touches: they need no look-back
    fresh = _forget_touched(deployment, touched)
    for name in ours:
        if request.recomputes or (name not in request.keys and request.mode != "catch_up"):
            intervals = _recomputed(name, request, deployment, work)
        else:
            intervals = due.get(name, []) + fresh.get(name, [])
            if request.mode == "auto" and request.by_hand and _is_rebuilt(name, deployment):
                intervals = deployment.intervals(name).latest()
        if intervals:
            work.intervals[name] = _merged(name, intervals, deployment)
        elif name not in work.left:
            work.leave(name, "up_to_date", "nothing is due or missing")
    if request.window is not None and not work.intervals:  # nothing of all that was asked for: success would be a lie
        for name in ours:
            if deployment.snapshots[name].is_incremental_by_time_range:
                work.leave(name, "refused", work.left[name][1])
    return work


def _is_ours(name: str, deployment: Deployment, work: Work) -> bool:
    owner = deployment.owner(name)
    if owner == deployment.environment.name:
        return True
    work.leave(name, "shared", f"its table belongs to {owner}, which {deployment.environment.name} only reads")
    return False


def _is_rebuilt(name: str, deployment: Deployment) -> bool:
    snapshot = deployment.snapshots[name]
    return bool(snapshot.is_full or snapshot.is_view)


def _recomputed(name: str, request: Request, deployment: Deployment, work: Work) -> list[Interval]:
    snapshot, known = deployment.snapshots[name], deployment.intervals(name)
    if snapshot.is_seed:
        return deployment.due([name]).get(name, [])
    if _is_rebuilt(name, deployment):
        return known.latest()
    if request.window is not None and not snapshot.is_incremental_by_time_range:
        return deployment.due([name]).get(name, [])  # it has no partitions: what was asked for is not about it
    wanted = known.history() if request.window is None else known.window(*request.window)
    if request.window is not None and not wanted:
        start, end = request.window
        reason = f"it has no interval between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} that is over"
        work.leave(name, "up_to_date", f"{reason}; as deployed it begins at {known.start:%Y-%m-%d %H:%M}")
    elif snapshot.disable_restatement:
        wanted = known.uncomputed(wanted) if snapshot.is_incremental_by_time_range else []
        if not wanted and name in request.keys:
            work.leave(name, "refused", f"a {_kind(snapshot)} model keeps its history and is never recomputed")
        elif not wanted:  # downstream of what was asked for: nobody named it
            wanted = deployment.due([name]).get(name, [])
    elif not snapshot.is_incremental_by_time_range:
        deployment.restart(name)
    return wanted


def _forget_touched(deployment: Deployment, touched: Touched) -> dict[str, list[Interval]]:
    known = {name: ranges for name, ranges in touched.items() if name in deployment.snapshots}
    owned = {n: r for n, r in known.items() if deployment.owner(n) == deployment.environment.name}
    fresh = {name: deployment.intervals(name).touched(ranges) for name, ranges in owned.items()}
    deployment.forget(fresh)
    return fresh


def _merged(name: str, intervals: Sequence[Interval], deployment: Deployment) -> list[Interval]:
    """Without overlaps; a model computed as a whole is computed once."""
    snapshot = deployment.snapshots[name]
    if snapshot.is_full or snapshot.is_view:
        return [(min(start for start, _ in intervals), max(end for _, end in intervals))]
    return merged(intervals)


def _kind(snapshot: object) -> str:
    kind = getattr(snapshot, "model_kind_name", None)
    return kind.value if kind else "custom"
