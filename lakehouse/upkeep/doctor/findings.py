"""What a check says: one line when all is well, else findings; or that it could not look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse.upkeep.doctor.examination import Examination


class Level(Enum):
    """How bad it is; its value is what a terminal shows."""

    WELL = "✓"
    UNKNOWN = "-"  # it could not be looked at: whatever hinders it has a finding of its own
    WARNING = "!"
    WRONG = "✗"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may become so. Four sentences; `do` names the exact command or setting."""

    level: Level
    what: str
    where: str
    why: str
    do: str


def wrong(what: str, *, where: str, why: str, do: str) -> Finding:
    """A finding that makes `lakehouse doctor` end with 1."""
    return Finding(Level.WRONG, what, where, why, do)


def warning(what: str, *, where: str, why: str, do: str) -> Finding:
    """A finding that somebody should know of."""
    return Finding(Level.WARNING, what, where, why, do)


@dataclass(frozen=True)
class Seen:
    """What came of one look: the line that is shown when there is no finding, and the findings."""

    line: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Check:
    """One check. `look` raises UnableError when it can't be made; it never writes."""

    name: str
    look: Callable[[Examination], Seen]


@dataclass(frozen=True)
class Result:
    """What a check said."""

    name: str
    level: Level
    line: str
    findings: tuple[Finding, ...] = ()
