"""Which intervals of which models a run computes, and why it leaves the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.outcome import State
from lakehouse_assets.sqlmesh_integration.ranges import Range, common, from_ms, merged, without
from lakehouse_assets.sqlmesh_integration.recompute import Recompute
from lakehouse_assets.sqlmesh_integration.request import Request
from lakehouse_assets.sqlmesh_integration.upstream import Upstream, Wanted

Touched = Mapping[str, Sequence[Range] | None]
"""By `schema.table`: the time ranges of rows that changed upstream; None for any row."""


@dataclass
class Work:
    intervals: dict[str, list[Interval]] = field(default_factory=dict)
    kept: dict[str, list[Interval]] = field(default_factory=dict)
    """The part that is computed already, comes with the look-back, and stays computed should it fail."""
    left: dict[str, tuple[State, str]] = field(default_factory=dict)
    """Chosen but not computed: (state, reason in words)."""
    notes: list[str] = field(default_factory=list)
    """What is computed beside what was asked for, and what of it is not computed, in sentences."""

    def leave(self, name: str, state: State, reason: str) -> None:
        self.left[name] = (state, reason)


def decide(request: Request, deployment: Deployment, touched: Touched, computes_upstream: bool = True) -> Work:
    """What to compute. Writes the touched ranges down as missing first, those of models not chosen too.

    With `computes_upstream` what is missing upstream of it is computed first; else what reads that is not computed.
    """
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

    def may_compute(name: str) -> bool:
        if work.left.get(name, ("",))[0] == "refused" or deployment.owner(name) != deployment.environment.name:
            return False
        return computes_upstream or name in ours or deployment.snapshots[name].is_symbolic

    recompute = Recompute(request, deployment, work.leave)
    wanted: dict[str, Wanted] = {}
    for name in deployment.order:
        if name not in ours:
            recompute.pass_by(name)
            continue
        if request.recomputes or (name not in request.keys and request.mode != "catch_up"):
            found = recompute.of(name)
        else:
            found = _due(name, request, deployment, due.get(name, []), fresh.get(name, []))
        recompute.changed(name, found)
        if found.intervals:
            wanted[name] = found
    asked = {name: list(found.intervals) for name, found in wanted.items()}
    upstream = Upstream(deployment, may_compute, fresh)
    upstream.take_along(wanted)
    held = upstream.hold_back(wanted)
    for name, found in wanted.items():
        if found.anew:
            deployment.restart(name)
        work.intervals[name] = whole_or_merged(name, found.intervals, deployment)
        work.kept[name] = found.kept
        work.left.pop(name, None)
    _say_what_waits(request, deployment, work, held, computes_upstream)
    if along := sorted(name for name in work.intervals if name not in asked):
        work.notes.append(f"Computed along, because it is missing upstream of what was asked for: {', '.join(along)}.")
    for name in ours:
        if name not in work.intervals and name not in work.left:
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


def _due(name: str, request: Request, deployment: Deployment, due: list[Interval], fresh: list[Interval]) -> Wanted:
    snapshot, known = deployment.snapshots[name], deployment.intervals(name)
    if request.mode == "auto" and request.by_hand and (snapshot.is_full or snapshot.is_view):
        return Wanted(known.latest())
    kept = [] if known.overwrites_itself else common(due, known.computed)
    return Wanted(known.followed([*due, *fresh]), kept=[k for part in kept for k in without(part, fresh)])


def _forget_touched(deployment: Deployment, touched: Touched) -> dict[str, list[Interval]]:
    known = {name: ranges for name, ranges in touched.items() if name in deployment.snapshots}
    owned = {n: r for n, r in known.items() if deployment.owner(n) == deployment.environment.name}
    fresh = {name: deployment.intervals(name).touched(ranges) for name, ranges in owned.items()}
    deployment.forget(fresh)
    return fresh


def _say_what_waits(
    request: Request,
    deployment: Deployment,
    work: Work,
    held: Mapping[str, Mapping[str, Interval]],
    computes_upstream: bool,
) -> None:
    waits = request.mode == "catch_up" or not request.by_hand
    for name, parents in held.items():
        lacks = ", ".join(
            f"{parent} (from {from_ms(start):%Y-%m-%d %H:%M})" for parent, (start, _) in sorted(parents.items())
        )
        reason = f"it reads what is not computed: {lacks}; compute that first, or with it"
        if name in work.intervals:
            work.notes.append(f"{name} is not computed to its end: {reason}.")
        elif name in request.keys and name not in work.left:
            # One without partitions was not what a run over some is about; and the owner of a table may yet come to it.
            is_aside = request.window is not None and not deployment.snapshots[name].is_incremental_by_time_range
            work.leave(name, "not_ready" if is_aside or (waits and computes_upstream) else "refused", reason)


def whole_or_merged(name: str, intervals: Sequence[Interval], deployment: Deployment) -> list[Interval]:
    """Without overlaps; a model computed as a whole is computed once."""
    snapshot = deployment.snapshots[name]
    if snapshot.is_full or snapshot.is_view:
        return [(min(start for start, _ in intervals), max(end for _, end in intervals))]
    return merged(intervals)
