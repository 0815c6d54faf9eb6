"""How large libraries are imported."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def first_import(library: str) -> Iterator[None]:
    """Where the block imports `library` for the first time: keep the garbage collector from what is imported.

    Modules stay until the process ends, and Python's collector looks at them all, a million objects with Dagster and
    SQLMesh, again and again while the process grows, and once more when it ends.
    """
    if library in sys.modules:
        yield
        return
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if is_collecting:
            gc.enable()
