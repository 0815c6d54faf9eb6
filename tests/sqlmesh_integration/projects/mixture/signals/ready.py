"""A signal that says when the intervals of a model may be computed: the file next to the project must be there."""

from pathlib import Path

from sqlmesh import DatetimeRanges, signal


@signal()
def is_open(batch: DatetimeRanges, gate: str) -> bool | DatetimeRanges:
    return Path(gate).exists()
