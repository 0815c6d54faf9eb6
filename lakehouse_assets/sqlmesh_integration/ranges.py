"""Arithmetic of time ranges: [start, end) in milliseconds, and as datetimes in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

Interval = tuple[int, int]
Range = tuple[datetime, datetime]
"""[start, end), UTC."""


def common(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    both = [(max(a, c), min(b, d)) for a, b in left for c, d in right]
    return sorted((start, end) for start, end in both if start < end)


def without(whole: Interval, parts: Sequence[Interval]) -> list[Interval]:
    left, begin = [], whole[0]
    for start, end in sorted(parts):
        if begin < min(start, whole[1]):
            left.append((begin, min(start, whole[1])))
        begin = max(begin, end)
    return [*left, (begin, whole[1])] if begin < whole[1] else left


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Without overlaps, and with those that touch as one; oldest first."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def as_datetimes(intervals: Sequence[Interval]) -> tuple[Range, ...]:
    return tuple((from_ms(start), from_ms(end)) for start, end in intervals)


def from_ms(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


MINUTES = {"day": 1440, "hour": 60, "half_hour": 30, "quarter_hour": 15, "five_minute": 5}


def interval_count(intervals: Iterable[Interval], unit: str) -> int:
    """How many of SQLMesh's units (`day`, `month`) these are; 1 where there is none: computed as a whole."""
    if not unit:
        return 1
    if unit in MINUTES:
        return sum(end - start for start, end in merged(intervals)) // (MINUTES[unit] * 60_000)
    ends = [tuple(map(from_ms, interval)) for interval in merged(intervals)]
    months = sum((end.year - start.year) * 12 + end.month - start.month for start, end in ends)
    return months if unit == "month" else months // 12


def as_intervals(ranges: Iterable[Range]) -> list[Interval]:
    """In milliseconds."""
    return [(int(start.timestamp() * 1000), int(end.timestamp() * 1000)) for start, end in ranges]
