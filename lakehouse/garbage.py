"""How seldom our processes look for garbage."""

from __future__ import annotations

import atexit
import gc

OBJECTS_BETWEEN = 20_000
"""So many new objects, not Python's 700, bring the collector."""


def collect_seldom() -> None:
    """For a process that imports Dagster, dlt or SQLMesh: a fourth to a third less of a processor for a command.

    Nearly all its objects are modules and what they define, a million of them, and stay until it ends. Python's
    collector looks at all of them again and again while they come, and once more at exit, when the system takes
    everything back anyway.
    """
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)
