"""What strikes an act, and where: at its n-th boundary, before or after something that it makes durable, or anywhere.

A boundary is a call of Python that writes: a statement to DuckDB, to PostgreSQL or to SQLMesh's state, a COMMIT, a file
that gets or loses its name, a request to the store. What lies between two, in DuckDB's own code, is reached by kills
after a share of the act's processor time.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

READS = re.compile(
    r"\s*(SELECT|FROM|WITH|DESCRIBE|SET|RESET|SHOW|USE|LOAD|ATTACH|INSTALL|EXPLAIN|VALUES|PRAGMA)\b", re.I
)
STORE_READS = ("Get", "Head", "List")
BALLAST = "ballast"
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
long clock_offset = 0;
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += clock_offset;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec; now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *told) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (told) *told = exact.tv_sec;
    return exact.tv_sec;
}
"""


@dataclass(frozen=True)
class Strike:
    """One fault: its kind, and at which boundary. A kill "at a moment" has CPU seconds instead."""

    kind: str
    boundary: int = 0
    seconds: float = 0.0


class Boundaries:
    """Counts what this process makes durable, and strikes at one of them."""

    def __init__(self) -> None:
        self.count = 0
        self.strike: Callable[[], None] | None = None
        self.at = 0
        self._inside = False

    def passed(self) -> None:
        """One more."""
        if self._inside:
            return
        self.count += 1
        if self.strike and self.count == self.at:
            self._inside = True  # what a strike does itself is none
            self.strike()
            self._inside = False

    def around(self, function: Callable[..., Any], writes: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        """The function with a boundary before and one after."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            if not writes(*arguments):
                return function(*arguments, **options)
            self.passed()
            try:
                return function(*arguments, **options)
            finally:
                self.passed()

        return wrapper

    def watch(self) -> None:
        """From here on, in this process and what it forks."""
        import botocore.client
        import duckdb
        import psycopg.transaction
        from sqlmesh.core.engine_adapter.base import EngineAdapter
        from sqlmesh.utils.connection_pool import SingletonConnectionPool, ThreadLocalConnectionPool

        def is_write(_: Any, statement: Any = "", *__: Any) -> bool:
            return not READS.match(statement if isinstance(statement, str) else "INSERT")

        def is_request(_: Any, operation: str, *__: Any) -> bool:
            return not operation.startswith(STORE_READS)

        duckdb.DuckDBPyConnection.execute = self.around(duckdb.DuckDBPyConnection.execute, is_write)  # type: ignore[method-assign]
        for owner, names in (
            (psycopg.Cursor, ("execute", "executemany")),
            (EngineAdapter, ("_execute",)),
        ):
            for name in names:
                setattr(owner, name, self.around(getattr(owner, name), is_write))
        for pool in (SingletonConnectionPool, ThreadLocalConnectionPool):
            pool.commit = self.around(pool.commit)  # type: ignore[method-assign]
        psycopg.transaction.Transaction.__exit__ = self.around(psycopg.transaction.Transaction.__exit__)  # type: ignore[method-assign]
        botocore.client.BaseClient._make_api_call = self.around(botocore.client.BaseClient._make_api_call, is_request)
        for name in ("rename", "replace", "unlink", "remove", "link"):
            setattr(os, name, self.around(getattr(os, name)))
        shutil.rmtree = self.around(shutil.rmtree)  # type: ignore[assignment]


def kill() -> None:
    """This process, without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after(seconds: float) -> None:
    """The same once it has used so much of a processor, wherever it is then."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def end_postgres(data: Path, how: signal.Signals) -> None:
    """SIGKILL, SIGQUIT (at once, as a crash) or SIGINT (its clients are cut off): whoever connects next starts it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), how)


def cut_connections(url: str) -> None:
    """Every connection to PostgreSQL ends, as when a network goes: locks are given back, their holders work on."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


_hogs: list[psycopg.Connection] = []


def take_all_connections(url: str) -> None:
    """Until this process ends nobody else gets one."""
    with contextlib.suppress(psycopg.Error):
        while True:
            _hogs.append(psycopg.connect(url, connect_timeout=5))


def fill(disk: Path) -> None:
    """No byte is left."""
    free = os.statvfs(disk)
    with open(disk / BALLAST, "wb") as file:
        for size in (free.f_bavail * free.f_frsize, 1 << 20, 1 << 16, 1 << 12):
            with contextlib.suppress(OSError):
                while size:
                    at = file.seek(0, os.SEEK_END)
                    os.posix_fallocate(file.fileno(), at, size)


def step_clock(seconds: int) -> None:
    """Whatever asks this process's clock gets another time, DuckDB too."""
    ctypes.c_long.in_dll(ctypes.CDLL(None), "clock_offset").value = seconds


def has_clock(folder: Path) -> bool:
    """Whether this process's clock can be set. Starts the program again for it; needs a compiler."""
    if os.environ.pop("LD_PRELOAD", ""):
        return True
    library, source, compiler = folder / "clock.so", folder / "clock.c", shutil.which("cc")
    source.write_text(CLOCK)
    command = [str(compiler), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    if compiler and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        os.environ["LD_PRELOAD"] = str(library)
        os.execv(sys.executable, [sys.executable, "-m", __package__, *sys.argv[1:]])
    return False
