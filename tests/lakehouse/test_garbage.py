"""Commands spend their time on their work, not on a collector that looks at modules."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from lakehouse.garbage import collect_seldom

modules = [[] for _ in range(1000)]
collect_seldom()
print(gc.isenabled(), gc.get_threshold()[0] >= 20_000, any(found is modules for found in gc.get_objects()))


class Part:
    def __del__(self):
        print("collected")


def garbage():
    part = Part()
    part.whole = part


garbage()
gc.collect()
garbage()
print("end")
"""


def test_modules_are_not_looked_at_and_garbage_is_still_collected() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True True False", "collected", "end"]
