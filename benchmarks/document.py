"""docs/benchmarks.md: a section for each case, replaced when that case runs again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

INTRODUCTION = """# Benchmarks

Written by `make bench` (`python -m benchmarks`): don't edit. Each thing is measured beside its bare peer, in turns,
in the same session; figures are the median of the runs, with the smallest and the largest in brackets; a ratio is the
median of the pairs' ratios. CPU seconds of commands hold their child processes and PostgreSQL; peak MB is the resident
memory of the largest single process. Trust the ratios more than the seconds."""


def sections(text: str) -> dict[str, str]:
    """The document's sections by their case."""
    found = re.finditer(r"<!-- case: (\S+) -->\n(.*?)\n<!-- end: \1 -->", text, re.DOTALL)
    return {match[1]: match[2] for match in found}


def write(path: Path, machine: str, fresh: Mapping[str, str], order: Sequence[str]) -> None:
    """Put the fresh sections in, keep those of the other cases in `order`, drop cases that are no more."""
    known = sections(path.read_text()) if path.exists() else {}
    merged = {**known, **fresh}
    body = [f"<!-- case: {name} -->\n{merged[name]}\n<!-- end: {name} -->" for name in order if name in merged]
    if missing := [name for name in order if name not in merged]:
        body.insert(0, f"Not measured yet: {', '.join(missing)}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join([INTRODUCTION, f"## Machine\n\n{machine}", *body]) + "\n")
