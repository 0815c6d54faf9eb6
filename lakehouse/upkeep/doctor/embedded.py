"""How the embedded PostgreSQL is, without joining it: joining starts, adopts or recovers it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

BUSY_SECONDS = 5.0


class State(Enum):
    """What the folder and its processes say."""

    ABSENT = "there is none yet"
    STOPPED = "stopped"
    RUNNING = "running"
    ORPHANED = "running, and nobody uses it"
    KILLED = "killed"  # a postmaster.pid without its process


@dataclass(frozen=True)
class EmbeddedServer:
    """A look at the embedded server."""

    folder: Path  # the data directory
    state: State
    pid: int | None = None
    socket_dir: Path | None = None
    since: float | None = None  # seconds since 1970


def look_at(folder: Path) -> EmbeddedServer:
    """The server whose lock files and data directory lie in `folder` (`postgres` in the data folder)."""
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        return EmbeddedServer(data, State.ABSENT)
    with _undisturbed(folder) as quiet:
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            pid, since, socket_dir = int(lines[0]), float(lines[2]), Path(lines[4])
        except FileNotFoundError:
            return EmbeddedServer(data, State.STOPPED)
        except (IndexError, ValueError):  # it is just being written
            return EmbeddedServer(data, State.RUNNING)
        if not _is_postmaster(pid, data):
            return EmbeddedServer(data, State.KILLED, pid, socket_dir, since)
        used = not quiet or _is_used(folder / "users.lock")
        return EmbeddedServer(data, State.RUNNING if used else State.ORPHANED, pid, socket_dir, since)


@contextlib.contextmanager
def _undisturbed(folder: Path) -> Iterator[bool]:
    """Nobody starts or stops the server meanwhile; False when somebody was at it all the time."""
    try:
        lock = open(folder / "start.lock")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        yield True
        return
    with lock:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.05)
        yield True


def _is_used(users: Path) -> bool:
    """Whether a process holds its share of the lock. Only to be asked while nobody joins or leaves."""
    try:
        with open(users) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _is_postmaster(pid: int, data: Path) -> bool:
    """Whether this process is alive and serves this folder: numbers of dead processes are given out again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return False
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # no /proc here
        return True
    return "postgres" in command and str(data) in command
