"""Who commits to the lake: each process under a name of its own, by which its commits are refused when it is too late.

Locks go back when their connection to PostgreSQL breaks, and the process that held them doesn't know. Another one then
takes its work over; from there on the ledger refuses what the first still wants to commit.
"""

from __future__ import annotations

import os
import uuid

VARIABLE = "PGAPPNAME"
"""Where libpq, which DuckDB, dlt and SQLMesh connect with, finds the name. In an address it would change SQLMesh's
caches with every process."""

_names: dict[int, str] = {}  # by process: one that is forked, or has inherited the variable, has its own


def worker() -> str:
    """This process's name, which its connections to PostgreSQL carry from here on."""
    name = _names.setdefault(os.getpid(), f"lakehouse-{uuid.uuid4().hex[:16]}")
    if os.environ.get(VARIABLE) != name:
        os.environ[VARIABLE] = name
    return name


def begin_anew() -> str:
    """Another name, for connections that are opened from here on."""
    _names.pop(os.getpid(), None)
    return worker()
