"""What a step of maintenance did, or would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Report = Callable[[str], None]
HOLDER = "maintenance"


@dataclass(frozen=True)
class Outcome:
    """What one step did; with `dry_run`, what it would do."""

    summary: str
    """A sentence."""
    figures: Mapping[str, int | str] = field(default_factory=dict)
    """For the page of the step's asset: counts, bytes, names."""
    bytes_freed: int = 0
    problems: tuple[str, ...] = ()
    """What could not be done, a sentence each; the rest was."""
