"""What came of all nights: a line of JSON each."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.faults import document

OURS = Path(__file__).parent / "results.jsonl"
PATH = Path(os.environ.get("FAULT_RESULTS") or OURS)


def checked_out() -> str:
    """The commit that is struck."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=OURS.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def add(line: dict[str, Any]) -> None:
    """Keep a night."""
    with open(PATH, "a") as file:
        file.write(json.dumps(line) + "\n")
    if PATH == OURS:
        document.write("nights", section(read()))


def read() -> list[dict[str, Any]]:
    """All of them."""
    return [json.loads(line) for line in PATH.read_text().splitlines()] if PATH.exists() else []


def section(nights: list[dict[str, Any]]) -> str:
    """All of them added up, and a line for each."""
    faults: Counter[str] = Counter()
    for night in nights:
        faults.update(night["faults"])
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for name, count in faults.items():
        kind, act, *_ = name.split(", ")
        kinds[act][kind] += count
    names = sorted({kind for found in kinds.values() for kind in found})
    at_once = sum(count for name, count in faults.items() if name.endswith("two at once"))
    found = sorted({finding for night in nights for finding in night["findings"]})
    seconds = sum(night["cpu_seconds"] for night in nights)
    lines = [
        "## Nights",
        "",
        f"**{faults.total():,} faults** in {len(nights)} stretches of `make prove-faults`, {at_once:,} of them while "
        f"another act ran beside; {sum(night['at_rest'] for night in nights):,} times the lake was brought to rest and "
        f"compared with the truth: **{len(found)}** findings. {seconds / faults.total():.1f} "
        "seconds of a processor for a fault.",
        "",
        f"| struck | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
        *(
            f"| {act} | {' | '.join(str(found[kind] or '') for kind in names)} |"
            for act, found in sorted(kinds.items())
        ),
        "",
        *(f"- found: {finding}" for finding in found),
        "",
        "| stretch (UTC) | commit | seed | on | faults | findings |",
        "|---|---|---:|---|---:|---|",
        *(
            f"| {night['date']} | {night['commit']} | {night['seed']} | {night['where']} | "
            f"{sum(night['faults'].values())} | {len(night['findings'])} |"
            for night in nights
        ),
    ]
    return "\n".join(lines)
