"""What a case found, as the part of the document that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.measurement import Measured, ratio, spread


@dataclass(frozen=True)
class Verdict:
    """A target, what was found, and whether it was met."""

    target: str
    found: str
    met: bool

    def line(self) -> str:
        """As a line of the document."""
        return f"- **{'met' if self.met else 'NOT met'}**: {self.target}; found {self.found}."


@dataclass
class Section:
    """Tables, remarks and verdicts of one case, in the order in which they were added."""

    parts: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A paragraph."""
        self.parts.append(text)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; all columns but the first are numbers."""
        rule = "|---|" + "---:|" * (len(header) - 1)
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        self.parts.append("\n".join(["| " + " | ".join(header) + " |", rule, *lines]))

    def comparison(self, measured: Sequence[Measured], peer: Measured | None = None) -> None:
        """A row for each: seconds, CPU seconds, memory, and the ratio to `peer` pair by pair."""
        with_memory = any(peak for one in measured for peak in one.values("peak_bytes"))
        header = ["", "seconds", "CPU seconds", *(["peak MB"] if with_memory else []), *(["ratio"] if peer else [])]
        rows = []
        for one in measured:
            row = [one.name, spread(one.values()), spread(one.values("cpu_seconds"))]
            if with_memory:
                row.append(f"{max(one.values('peak_bytes')) / 1e6:,.0f}")
            if peer:
                row.append("1" if one is peer else f"{ratio(one, peer):.2f}")
            rows.append(row)
        self.table(header, rows)
        self.commands(measured)

    def commands(self, measured: Sequence[Measured]) -> None:
        """What was run for each figure."""
        lines = [f"- {one.name}: `{one.command}`" for one in measured if one.command]
        if lines:
            self.parts.append("\n".join(lines))

    def judge(self, target: str, found: str, met: bool) -> None:
        """Say whether a target was met."""
        self.verdicts.append(Verdict(target, found, met))

    def markdown(self) -> str:
        """All of it; verdicts first."""
        told = "\n".join(verdict.line() for verdict in self.verdicts) or "No target: shown for comparison."
        return "\n\n".join([told, *self.parts])
