"""What a case is, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.section import Section


@dataclass(frozen=True)
class Options:
    """How often and how large to measure; where the real files are."""

    runs: int
    scale: float
    data: Path

    def scaled(self, size: int, least: int = 1) -> int:
        """A size of the case, scaled."""
        return max(least, round(size * self.scale))


@dataclass(frozen=True)
class Case:
    """One thing to measure. `what` says it in a paragraph for the document."""

    name: str
    title: str
    what: str
    measure: Callable[[Options], Section]
