"""The machine: room on its disks, memory, ports, and who listens there."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

from lakehouse.settings import Settings, reachable
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Finding, Level, Seen, warning, wrong

GB = 1_000_000_000
UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
FULL_BYTES, LOW_BYTES, LOW_SHARE = GB, 10 * GB, 0.1
FULL_INODES, LOW_INODES = 0.01, 0.05
RUNS_AT_ONCE = 10
"""Dagster's own default, where dagster.yaml says nothing."""


def disks(examination: Examination) -> Seen:
    """There is room where files are written: bytes and inodes."""
    settings = examination.settings
    folders = {"data folder": settings.data_dir, "temporary folder": Path(tempfile.gettempdir())}
    if not settings.stores_on_s3:
        folders["storage"] = Path(settings.storage_uri)
    findings, free, seen = [], [], set[int]()
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        found = _room(name, there, os.statvfs(there))
        if found:
            findings.append(found)
        free.append(f"{_free_bytes(os.statvfs(there)) / GB:,.0f} GB free ({name})")
    return Seen(", ".join(free), tuple(findings))


def _free_bytes(disk: os.statvfs_result) -> int:
    return disk.f_bavail * disk.f_frsize


def _room(name: str, folder: Path, disk: os.statvfs_result) -> Finding | None:
    free, size = _free_bytes(disk), disk.f_blocks * disk.f_frsize
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1.0  # some file systems have no such limit
    level = (
        Level.WRONG
        if free < FULL_BYTES or inodes < FULL_INODES
        else Level.WARNING
        if (free < LOW_BYTES and free < size * LOW_SHARE) or inodes < LOW_INODES
        else Level.WELL
    )
    if level is Level.WELL:
        return None
    left = f"{free / GB:,.1f} GB" if inodes >= LOW_INODES else f"{inodes:.1%} of the inodes"
    return Finding(
        level,
        f"the disk of the {name} is nearly full: {left} left",
        where=f"{folder}, {size / GB:,.0f} GB in all",
        why="A full disk ends loads and PostgreSQL half-way, and nothing repairs itself before there is room.",
        do=f"Make room: du -xh -d 2 {folder} | sort -h | tail; fewer releases by LAKEHOUSE_RELEASES_KEPT; "
        "a bigger disk.",
    )


def memory(examination: Examination) -> Seen:
    """What all processes may take at once fits into the machine."""
    settings = examination.settings
    runs = _runs_at_once(settings)
    engines = runs * _bytes(settings.memory_limit)
    workers = settings.query_workers * settings.query_memory_mb * 10**6
    there = machine_bytes()
    sums = (
        f"{runs} runs with {settings.memory_limit} each and {settings.query_workers} query workers with "
        f"{settings.query_memory_mb} MB"
    )
    if engines + workers <= there:
        return Seen(f"{sums} fit into {there / GB:.0f} GB")
    return Seen(
        "",
        (
            warning(
                f"{sums} may take {(engines + workers) / GB:.0f} GB, and there are {there / GB:.0f}",
                where="LAKEHOUSE_MEMORY_LIMIT, LAKEHOUSE_QUERY_WORKERS, LAKEHOUSE_QUERY_MEMORY_MB; "
                f"max_concurrent_runs in {settings.dagster_home / 'dagster.yaml'}",
                why="On a busy hour the kernel kills a process: a run, or PostgreSQL.",
                do=f"LAKEHOUSE_MEMORY_LIMIT={max(256, int((there - workers) * 0.8 / runs / 10**6))}MB, or "
                "fewer of them.",
            ),
        ),
    )


def machine_bytes() -> int:
    """The memory that this process may see: the machine's, or its container's when that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def _bytes(text: str) -> int:
    unit = next(name for name in UNITS if text.endswith(name))
    return int(float(text.removesuffix(unit)) * UNITS[unit])


def _runs_at_once(settings: Settings) -> int:
    try:
        text = (settings.dagster_home / "dagster.yaml").read_text()
    except OSError:
        return RUNS_AT_ONCE
    found = re.search(r"^\s*max_concurrent_runs:\s*(\d+)", text, re.M)
    return int(found[1]) if found else RUNS_AT_ONCE


def ports(examination: Examination) -> Seen:
    """What listens on our ports is ours."""
    settings = examination.settings
    services = [
        (
            "Dagster web UI",
            "WEBSERVER_PORT",
            settings.webserver_host,
            settings.webserver_port,
            "/server_info",
            b"dagster",
        ),
        ("query service", "QUERY_PORT", settings.query_host, settings.query_port, "/openapi.json", b"/releases"),
        ("dashboard", "DASHBOARD_PORT", settings.query_host, settings.dashboard_port, "/_stcore/health", b"ok"),
    ]
    findings, running = [], []
    for name, setting, host, port, path, wanted in services:
        if not answers(host, port):
            continue
        if wanted in _page(f"http://{reachable(host)}:{port}{path}"):
            running.append(name)
            continue
        findings.append(
            wrong(
                f"port {port} of the {name} is taken by another program",
                where=f"{host}:{port}",
                why=f"`make up` can't start the {name} there, and whoever opens the address meets the other program.",
                do=f"`ss -ltnp 'sport = :{port}'` names it: end it, or set LAKEHOUSE_{setting} to another port.",
            )
        )
    return Seen(f"{', '.join(running)} run" if running else "free; `make up` starts the services", tuple(findings))


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        probe.settimeout(0.5)
        try:
            return probe.connect_ex((reachable(host).strip("[]"), port)) == 0
        except OSError:
            return False


def _page(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            found: bytes = reply.read(200_000)
            return found
    except (OSError, ValueError, urllib.error.URLError):
        return b""


SOCKET_BYTES = 107
"""The longest path of a Unix socket (Linux; 103 on macOS)."""


def sockets(examination: Examination) -> Seen:
    """The paths of Unix sockets are short enough, and the embedded server's is still there."""
    findings = []
    temporary = tempfile.gettempdir()
    if len(os.fsencode(temporary)) + len("/tmpxxxxxxxx") > SOCKET_BYTES:
        findings.append(
            wrong(
                f"the path of the temporary folder is too long for a socket: {len(temporary)} characters",
                where=temporary,
                why="Dagster's code servers listen on sockets in there, and can't start.",
                do="export TMPDIR=/tmp",
            )
        )
    server = examination.server
    if server is None or server.socket_dir is None or server.pid is None:
        return Seen("paths are short enough", tuple(findings))
    path = server.socket_dir / ".s.PGSQL.5432"
    if len(os.fsencode(path)) > SOCKET_BYTES:
        findings.append(
            wrong(
                f"the path of PostgreSQL's socket is too long: {len(str(path))} characters",
                where=str(path),
                why="Nobody can connect to the embedded server.",
                do="Set LAKEHOUSE_DATA_DIR to a folder less deep.",
            )
        )
    elif server.state.name in ("RUNNING", "ORPHANED") and not path.exists():
        findings.append(
            wrong(
                "PostgreSQL runs, and its socket is gone",
                where=str(path),
                why="Something tidied the temporary folder: nobody new can connect, and the server can't be joined.",
                do=f"End what uses it (Ctrl-C in `make up`), then: kill -INT {server.pid}",
            )
        )
    return Seen(f"{path} is short enough", tuple(findings))
