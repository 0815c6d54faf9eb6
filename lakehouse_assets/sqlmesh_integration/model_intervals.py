"""The intervals of one deployed model: which are computed, missing or due, and which ones a range of time means."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from sqlmesh.utils.date import to_timestamp

from lakehouse_assets.sqlmesh_integration import engine
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.ranges import Range, common, from_ms, merged, without

if TYPE_CHECKING:
    from sqlmesh.core.snapshot import Snapshot, SnapshotId


class ModelIntervals:
    """As the state was last read. Moments and intervals are milliseconds of UTC, ends exclusive.

    `among` holds the model's ancestors: one without a start begins with them.
    """

    def __init__(
        self, snapshot: Snapshot, computed: list[Interval], among: dict[SnapshotId, Snapshot], now: int
    ) -> None:
        self.snapshot = snapshot
        self.computed = computed
        self.among = among
        self.now = now

    @cached_property
    def first(self) -> int:
        """Where its first interval starts."""
        return engine.first_start(self.snapshot, self.among, self.now)

    @cached_property
    def last(self) -> int:
        """Where its newest complete interval ends."""
        last = to_timestamp(self.snapshot.node.interval_unit.cron_floor(self.now))
        end = engine.exclusive_end(self.snapshot.model) if self.snapshot.is_model else None
        return min(last, to_timestamp(end)) if end else last

    @property
    def start(self) -> datetime:
        """When the model's first interval starts."""
        return from_ms(self.first)

    def history(self) -> list[Interval]:
        """Everything from the model's start to its newest complete interval."""
        return [(self.first, self.last)] if self.first < self.last else []

    def latest(self) -> list[Interval]:
        """For a model that is computed as a whole: from what is missing, or its newest interval, to now.

        It reaches back behind the last tick of the model's cron, so that a run that dies in the middle leaves
        the model due at once, and not only at the next tick.
        """
        unit = self.snapshot.node.interval_unit
        tick = min(self.last, to_timestamp(self.snapshot.node.cron_floor(self.now)))
        newest = max(self.first, to_timestamp(unit.cron_prev(unit.cron_floor(tick))))
        gaps = self.uncomputed([(self.first, self.last)])
        return [(min([newest, *(start for start, _ in gaps)]), self.last)] if newest < self.last else []

    def window(self, start: datetime, end: datetime) -> list[Interval]:
        """The model's whole intervals that touch [start, end): none before its start, none unfinished."""
        return self.whole(to_timestamp(start), to_timestamp(end))

    def whole(self, start: int, end: int) -> list[Interval]:
        """As `window`."""
        unit = self.snapshot.node.interval_unit
        if start >= self.last or end <= self.first:
            return []
        # cron knows neither the year 1 nor what comes after 9999-12-31, with which sources say "never".
        start, end = (min(max(moment, self.first), self.last) for moment in (start, end))
        begin = max(self.first, to_timestamp(unit.cron_floor(start)))
        finish = to_timestamp(unit.cron_floor(end))
        if finish < end:
            finish = to_timestamp(unit.cron_next(finish))
        return [(begin, min(self.last, finish))] if begin < min(self.last, finish) else []

    @property
    def overwrites_itself(self) -> bool:
        """Whether what is computed later reads, or is written over, what was computed earlier of the model itself."""
        snapshot = self.snapshot
        if snapshot.is_incremental_by_time_range:
            return snapshot.depends_on_self
        return bool(snapshot.is_incremental_by_unique_key or snapshot.is_incremental_by_partition)

    def followed(self, intervals: Iterable[Interval]) -> list[Interval]:
        """These intervals, and what was computed later of a model whose later intervals are made from earlier ones."""
        found = merged(intervals)
        if found and self.overwrites_itself and not self.snapshot.disable_restatement:
            found = merged([*found, *common([(found[0][0], self.last)], self.computed)])
        return found

    def newest_computed(self) -> list[Interval]:
        """The last interval that is computed."""
        if not self.computed:
            return []
        end = min(self.last, self.computed[-1][1])
        begin = to_timestamp(self.snapshot.node.interval_unit.cron_prev(end))
        return [(max(self.first, begin), end)] if self.first < end else []

    def touched(self, ranges: Iterable[Range] | None) -> list[Interval]:
        """What a change of these rows upstream makes due; None stands for any row.

        Seeds read nothing, and an unmanaged model only appends: neither is ever due by a touch.
        """
        snapshot = self.snapshot
        if snapshot.is_seed or snapshot.is_incremental_unmanaged or not snapshot.evaluatable:
            return []
        if not (snapshot.is_incremental_by_time_range or self.overwrites_itself):
            return self.latest()
        if ranges is None:
            return self.history()
        # What reads itself is made from all that was before it: also from rows before its start.
        least = self.first + 1 if snapshot.depends_on_self else 0
        spans = [(to_timestamp(start), max(to_timestamp(end), least)) for start, end in ranges]
        return self.followed(found for start, end in spans for found in self.whole(start, end))

    def uncomputed(self, intervals: Iterable[Interval]) -> list[Interval]:
        """What of these intervals is not computed."""
        return [part for interval in intervals for part in without(interval, self.computed)]

    def missing(self) -> list[Interval]:
        """What should be computed by now and is not."""
        if not self.snapshot.evaluatable or (self.snapshot.is_seed and self.computed):
            return []
        return [*self.uncomputed([(self.first, min(self.last, self._tick))]), *self.holes()]

    def holes(self) -> list[Interval]:
        """What lies before a computed interval and is not computed, though the model's cron has not ticked since.

        SQLMesh's own `run` comes to it at the next tick; a recompute that failed would stay wrong until then.
        """
        snapshot = self.snapshot
        if not (snapshot.is_model and snapshot.is_incremental_by_time_range and self.computed):
            return []
        return self.uncomputed([(max(self.first, self._tick), min(self.last, self.computed[-1][1]))])

    @property
    def _tick(self) -> int:
        """The end of the newest interval that the model's cron has made due."""
        node = self.snapshot.node
        return to_timestamp(node.interval_unit.cron_floor(node.cron_floor(self.now)))
