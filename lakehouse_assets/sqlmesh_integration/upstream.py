"""What a run must compute of the models upstream, and what must wait because of them.

SQLMesh's own `run` computes every model of an environment up to now, parents first. A run over a part of them, or of
their time, would record as computed what was made while its parents held nothing: here parents come along first, or
what reads them is not computed.

A model by time, a view and an embedded model read of their parents the same time that is computed. Any other may read
all that was before its end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.model_intervals import ModelIntervals
from lakehouse_assets.sqlmesh_integration.ranges import common, merged, without

if TYPE_CHECKING:
    from sqlmesh.core.snapshot import Snapshot


@dataclass
class Wanted:
    """What is to be computed of one model."""

    firm: list[Interval] = field(default_factory=list)
    """What its parents lack for this is computed along."""
    soft: list[Interval] = field(default_factory=list)
    """This only as far as its parents are computed."""
    kept: list[Interval] = field(default_factory=list)
    """The part that is computed already, comes with the look-back, and counts as computed whatever happens."""
    anew: bool = False
    """Its table is replaced: all of `firm` is computed, or nothing."""

    @property
    def intervals(self) -> list[Interval]:
        return merged([*self.firm, *self.soft])


class Upstream:
    """`may_compute` says of a model by name whether this run may compute what nobody asked for of it.

    `forgotten` is by model what was marked missing since the state was read.
    """

    def __init__(
        self,
        deployment: Deployment,
        may_compute: Callable[[str], bool],
        forgotten: Mapping[str, list[Interval]],
    ):
        self.deployment = deployment
        self.may_compute = may_compute
        self.known: Callable[[str], ModelIntervals] = cache(deployment.intervals)
        self.missing: Callable[[str], list[Interval]] = cache(
            lambda name: merged([*self.known(name).missing(), *forgotten.get(name, [])])
        )

    def _parents(self, name: str) -> list[str]:
        return sorted(self.deployment.parents(name) & set(self.deployment.snapshots))

    def take_along(self, wanted: dict[str, Wanted]) -> None:
        """Add to `wanted` what is missing upstream, and before it, of what is firmly wanted."""
        needs: defaultdict[str, list[Interval]] = defaultdict(list)
        for name in reversed(self.deployment.order):
            needed, own = needs[name], wanted.get(name, Wanted())
            if not (needed or own.firm):
                continue
            snapshot = self.deployment.snapshots[name]
            if self.may_compute(name):
                short = self._missing_at(name, needed)
                if reads_all_before(snapshot) or snapshot.depends_on_self:
                    short = [*short, *common(self.missing(name), [(0, _end([*own.firm, *short]))])]
                if short:
                    own.firm = self.known(name).followed([*own.firm, *short])
                    wanted[name] = own
            passed = [*own.firm, *needed] if passes_on(snapshot) else own.firm
            if passed:
                spans = [(0, _end(passed))] if reads_all_before(snapshot) else passed
                for parent in self._parents(name):
                    needs[parent] = merged([*needs[parent], *spans])

    def hold_back(self, wanted: dict[str, Wanted]) -> dict[str, dict[str, Interval]]:
        """Take out of `wanted` what its parents don't hold even after this run; gives model -> parent -> what it lacks.

        The interval is the first that the parent lacks.
        """
        held: dict[str, dict[str, Interval]] = {}
        lacking: dict[str, dict[str, list[Interval]]] = {}

        def lacks(name: str) -> dict[str, list[Interval]]:
            """Of this model and of those that it passes on: what is not computed after the run."""
            if name not in lacking:
                found = _without(self.missing(name), wanted[name].intervals if name in wanted else [])
                lacking[name] = {name: found} if found else {}
                if passes_on(self.deployment.snapshots[name]):
                    for parent in self._parents(name):
                        lacking[name] |= lacks(parent)
            return lacking[name]

        for name in self.deployment.order:
            if name in wanted:
                parents: dict[str, list[Interval]] = {}
                for parent in self._parents(name):
                    parents |= lacks(parent)
                found = self._cut(name, wanted[name], parents)
                if found:
                    held[name] = found
                if not wanted[name].intervals:
                    del wanted[name]
        return held

    def _cut(self, name: str, own: Wanted, lacking: Mapping[str, list[Interval]]) -> dict[str, Interval]:
        snapshot, known = self.deployment.snapshots[name], self.known(name)
        before = own.intervals
        if reads_all_before(snapshot) or snapshot.depends_on_self:
            if snapshot.depends_on_self:  # also its own past
                lacking = {**lacking, name: _without(self.missing(name), before)}
            starts = [spans[0][0] for spans in lacking.values() if spans]
            limit = min(starts, default=known.last)
            blocked = [(unit[0][0], known.last)] if (unit := known.whole(limit, limit + 1)) else []
        else:
            blocked = merged(found for spans in lacking.values() for span in spans for found in known.whole(*span))
        blocked = common(blocked, before)
        if not blocked:
            return {}
        named = {parent: spans[0] for parent, spans in lacking.items() if spans and spans[0][0] < _end(before)}
        if own.anew and common(own.firm, blocked):
            own.firm, own.soft, own.anew = [], [], False
        own.firm, own.soft = _without(own.firm, blocked), _without(own.soft, blocked)
        return named

    def _missing_at(self, name: str, needed: Iterable[Interval]) -> list[Interval]:
        needed = list(needed)
        if not needed or not self.missing(name):
            return []
        if self.deployment.snapshots[name].is_seed:
            return self.missing(name)
        return common(self.missing(name), merged(found for span in needed for found in self.known(name).whole(*span)))


def passes_on(snapshot: Snapshot) -> bool:
    """Whether it holds no rows: what reads it reads its parents."""
    return bool(snapshot.is_model and (snapshot.is_view or snapshot.is_embedded))


def reads_all_before(snapshot: Snapshot) -> bool:
    """Whether computing one interval of it may read any earlier time of its parents."""
    return not (snapshot.is_incremental_by_time_range or passes_on(snapshot) or snapshot.is_external)


def _end(intervals: Iterable[Interval]) -> int:
    return max((end for _, end in intervals), default=0)


def _without(intervals: Iterable[Interval], parts: list[Interval]) -> list[Interval]:
    return [left for interval in intervals for left in without(interval, parts)]
