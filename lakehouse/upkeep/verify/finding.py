"""What verifying finds: where, what is wrong, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are read."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; a note is worth knowing and nothing to repair."""

    where: str
    problem: str
    advice: str
    is_note: bool = False


@dataclass
class Findings:
    """Everything that was found, and how much was looked at."""

    found: list[Finding] = field(default_factory=list)
    looked_at: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, problem: str, advice: str) -> None:
        """Something is wrong."""
        self.found.append(Finding(where, problem, advice))

    def note(self, where: str, problem: str, advice: str) -> None:
        """Something is worth knowing."""
        self.found.append(Finding(where, problem, advice, is_note=True))

    @property
    def problems(self) -> list[Finding]:
        """What is wrong."""
        return [finding for finding in self.found if not finding.is_note]
