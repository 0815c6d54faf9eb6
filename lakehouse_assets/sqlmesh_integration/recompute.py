"""What is computed again of each model: of those chosen, and of those that read them."""

from __future__ import annotations

from collections.abc import Callable

from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.model_intervals import ModelIntervals
from lakehouse_assets.sqlmesh_integration.outcome import State
from lakehouse_assets.sqlmesh_integration.ranges import common, merged
from lakehouse_assets.sqlmesh_integration.request import Request
from lakehouse_assets.sqlmesh_integration.upstream import Wanted

ANYWHERE: list[Interval] = [(0, 2**62)]
"""The rows of a model without a time column: what reads it is made again wherever it is computed."""


class Recompute:
    """Ask of the models in their order, parents first, and tell by `changed` what became of each.

    As in SQLMesh's own restatement a model by time hands down the time that is computed of it, any other all time.
    """

    def __init__(self, request: Request, deployment: Deployment, leave: Callable[[str, State, str], None]):
        self.request = request
        self.deployment = deployment
        self.leave = leave
        self._changed: dict[str, list[Interval]] = {}

    def changed(self, name: str, found: Wanted) -> None:
        if found.firm:
            by_time = self.deployment.snapshots[name].is_incremental_by_time_range
            self._changed[name] = found.firm if by_time else ANYWHERE

    def pass_by(self, name: str) -> None:
        """An embedded model has no rows of its own."""
        if self.deployment.snapshots[name].is_embedded:
            self._changed[name] = self._above(name)

    def _above(self, name: str) -> list[Interval]:
        parents = self.deployment.parents(name)
        return merged(found for parent in parents for found in self._changed.get(parent, []))

    def of(self, name: str) -> Wanted:
        snapshot, known = self.deployment.snapshots[name], self.deployment.intervals(name)
        if snapshot.is_seed:
            return Wanted(known.missing())
        if self.request.window is not None:
            return self._by_time(name, known) if snapshot.is_incremental_by_time_range else self._whole(name, known)
        if snapshot.is_full or snapshot.is_view:
            return Wanted(known.latest())
        if snapshot.disable_restatement:
            wanted = known.uncomputed(known.history()) if snapshot.is_incremental_by_time_range else []
            return Wanted(known.followed(wanted)) if wanted else self._kept(name, known)
        return Wanted(known.history(), anew=not snapshot.is_incremental_by_time_range)

    def _by_time(self, name: str, known: ModelIntervals) -> Wanted:
        """Exactly what was asked for, and downstream of it what was computed before; later days of a chain with it."""
        assert self.request.window is not None
        start, end = self.request.window
        asked = known.window(start, end)
        wanted = asked
        if self.request.downstream:
            above = merged(found for span in self._above(name) for found in known.whole(*span))
            is_chosen = name in self.request.keys
            wanted = merged([*(asked if is_chosen else common(asked, above)), *common(above, known.computed)])
        if not wanted:
            reason = f"it has no interval between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} that is over"
            self.leave(name, "up_to_date", f"{reason}; as deployed it begins at {known.start:%Y-%m-%d %H:%M}")
        elif self.deployment.snapshots[name].disable_restatement:
            wanted = known.uncomputed(wanted)
            if not wanted:
                return self._kept(name, known)
        return Wanted(known.followed(wanted))

    def _whole(self, name: str, known: ModelIntervals) -> Wanted:
        """A model without partitions in a run over some: made again where it is made of all, else where told to."""
        assert self.request.window is not None
        snapshot, is_chosen = self.deployment.snapshots[name], name in self.request.keys
        soft = known.followed(known.missing()) if is_chosen else []
        if snapshot.is_view and is_chosen:
            return Wanted(known.window(*self.request.window) or known.newest_computed())
        if snapshot.is_full or snapshot.is_view:
            if not (soft or known.computed):
                self.leave(name, "up_to_date", "it was never computed, and is when it is due")
            return Wanted(known.newest_computed(), soft)
        if not (self.request.downstream and self._above(name) and known.computed):
            return Wanted(soft=soft)
        if snapshot.is_scd_type_2:
            return Wanted(known.newest_computed(), soft)  # it takes up what it sees now, and keeps its history
        if snapshot.disable_restatement:
            return Wanted(soft=soft) if soft else self._kept(name, known)
        return Wanted(merged(known.computed), soft, anew=True)

    def _kept(self, name: str, known: ModelIntervals) -> Wanted:
        """A model that is never recomputed: refused where it was chosen, what is due of it where it was not."""
        is_chosen = name in self.request.keys
        if self.request.window is None and not is_chosen and (missing := known.missing()):
            return Wanted(known.followed(missing))
        kind = self.deployment.snapshots[name].model_kind_name
        reason = f"a {kind.value if kind else 'custom'} model keeps its history and is never recomputed"
        self.leave(name, "refused" if is_chosen else "up_to_date", reason)
        return Wanted()
