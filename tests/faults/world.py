"""A lakehouse at work, and what can be done to it: PostgreSQL, storage and every process of its own, to be killed."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import PostgresError, connect, leave
from lakehouse.releases import log
from lakehouse.settings import Settings
from tests.faults import steps, workers
from tests.faults.proxy import Mode, Proxy
from tests.object_store import ObjectStore
from tests.releases_proof import feed
from tests.releases_proof.proof import DEV, PROD, PROJECT

ROOT = Path(__file__).parents[2]
DISK_MB = 400
KINDS = {
    PROD: steps.RUN, DEV: steps.RUN, steps.TEND: steps.TEND, steps.ENVIRONMENTS: steps.ENVIRONMENTS,
    steps.READERS: steps.READERS,
}  # fmt: skip
"""Each process by its name, but the loaders: what it does."""


class World:
    """One lake with a loader, a loop that computes and publishes prod, one for dev, maintenance, and passers-by."""

    def __init__(
        self, folder: Path, store: ObjectStore | None = None, *, loaders: int = 1, is_backfilling: bool = False
    ) -> None:
        self.folder = folder
        self.kinds = {**KINDS, **({workers.BACKFILL: workers.BACKFILL} if is_backfilling else {})}
        self.store = store
        self.stack = ExitStack()
        self.proxy = Proxy(store.port).start() if store else None
        self.variables = {
            "LAKEHOUSE_DATA_DIR": str(folder / "data"),
            "LAKEHOUSE_THREADS": "1",
            "LAKEHOUSE_RELEASES_KEPT": "5",
            "LAKEHOUSE_RELEASE_DOCS": "false",
            "LAKEHOUSE_HISTORY_DAYS": "0",
            "LAKEHOUSE_LOCK_TIMEOUT_SECONDS": "120",
            "LAKEHOUSE_STORAGE": str(folder / "disk"),
        }
        if store and self.proxy:
            self.variables |= store.environment(store.new_bucket())
            self.variables["LAKEHOUSE_S3_ENDPOINT"] = f"http://127.0.0.1:{self.proxy.port}"
        self.has_disk = store is None and self._mount(folder / "disk")
        settings = {name.removeprefix("LAKEHOUSE_").lower(): value for name, value in self.variables.items()}
        self.lake = Lake(Settings(_env_file=None, **settings))  # type: ignore[arg-type, call-arg]
        self.projects = {PROD: self._project(PROD), DEV: self._project(DEV)}
        # Whoever is killed again and again is forked from a process that has imported everything, and has no thread:
        # SQLMesh would start one.
        os.environ["SQLMESH__DISABLE_ANONYMIZED_ANALYTICS"] = "true"
        self.forks = multiprocessing.get_context("forkserver")
        self.forks.set_forkserver_preload([workers.__name__, *workers.LIBRARIES])
        self.loaders = [steps.LOADER, *(f"{steps.LOADER} {number}" for number in range(2, loaders + 1))]
        self.processes: dict[str, multiprocessing.process.BaseProcess] = {}

    def _mount(self, disk: Path) -> bool:
        """A disk of its own that can be full; without the right to mount one, that fault is left out."""
        disk.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if done.returncode == 0:
            self.stack.callback(subprocess.run, ["umount", "-l", str(disk)], check=False)
        return done.returncode == 0

    def _project(self, environment: str) -> Path:
        """Dev changes one of the marts and what reads it; the rest of its tables are prod's."""
        target = self.folder / f"project_{environment}"
        shutil.copytree(PROJECT, target)
        if environment == DEV:
            changed = target / "models" / "lines_per_day.sql"
            text = changed.read_text().replace("COUNT(*)::BIGINT AS lines", "(COUNT(*) + 0)::BIGINT AS lines")
            changed.write_text(text)
        return target

    @contextlib.contextmanager
    def at_work(self) -> Iterator[World]:
        """Deployed, every process started; all of them ended behind it."""
        with self.stack:
            self.stack.callback(leave, Path(self.variables["LAKEHOUSE_DATA_DIR"]) / "postgres")
            self._deploy()
            self.stack.callback(self._end)
            self.tend()
            yield self

    def _deploy(self) -> None:
        projects = {environment: str(project) for environment, project in self.projects.items()}
        self._python(f"from tests.releases_proof.processes import deploy; deploy({projects!r})").check_returncode()

    def _python(self, program: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **self.variables}, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    # ------------------------------------------------------------------------------------------- processes

    def tend(self) -> None:
        """Start what is not running: its first time, or after it was killed."""
        for name, kind in (*self.kinds.items(), *((name, steps.LOADER) for name in self.loaders)):
            if name not in self.processes or not self.processes[name].is_alive():
                self.processes[name] = self._start(name, kind)

    def _start(self, name: str, kind: str) -> multiprocessing.process.BaseProcess:
        variables = {**self.variables, "LAKEHOUSE_ENVIRONMENT": name if name == DEV else PROD}
        project = self.projects.get(name, self.projects[PROD])
        started = self.forks.Process(
            target=workers.main,
            args=(variables, kind, self.folder, project, self.folder / name, len(self.loaders)),
        )
        started.start()
        return started

    def kill(self, name: str) -> None:
        """SIGKILL one of them and what it has started."""
        process = self.processes.get(name)
        if process is None or process.pid is None:
            return
        if process.is_alive():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not come to make a group of its own
                process.kill()
        process.join()

    def _end(self) -> None:
        for name in self.processes:
            self.kill(name)

    def stop_loading(self) -> None:
        """Bring no more."""
        for name in self.loaders:
            self.kill(name)
        self.loaders = []

    def told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the processes said of each act: who, and act, seconds, problem."""
        for name in self.processes:
            path = self.folder / f"{name}.out"
            for line in path.read_text().splitlines() if path.exists() else ():
                with contextlib.suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict) and "act" in found:
                        yield name, found

    # ------------------------------------------------------------------------------------------- servers

    def kill_postgres(self) -> None:
        """SIGKILL to the postmaster: whoever connects next starts it again."""
        data = Path(self.variables["LAKEHOUSE_DATA_DIR"]) / "postgres" / "data"
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def store_answers(self, mode: Mode) -> None:
        """Everything, errors, or nothing."""
        assert self.proxy is not None
        self.proxy.mode = mode

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """No byte is left where the lake's files lie."""
        ballast = self.folder / "disk" / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 1_000_000)
        try:
            yield
        finally:
            ballast.unlink()

    # ------------------------------------------------------------------------------------------- state

    def ledger(self) -> psycopg.Connection:
        """A connection; while PostgreSQL comes back, tried again."""
        deadline = time.monotonic() + 400
        while True:
            try:
                return connect(self.lake.settings)
            except (PostgresError, psycopg.Error):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def marks(self) -> dict[tuple[str, str, str], str]:
        """What is unfinished -> who and since when."""
        with closing(self.ledger()) as connection:
            rows = connection.execute("SELECT kind, scope, subject, run || since FROM ledger.marks").fetchall()
        return {(kind, scope, subject): who for kind, scope, subject, who in rows}

    def newest_release(self, environment: str) -> int:
        """The number of the newest published one, whoever holds readers back."""
        with closing(self.ledger()) as connection:
            newest = log.newest(connection, environment, "published")
        return newest.number if newest else 0

    def is_well_since(self, marks: dict[tuple[str, str, str], str], releases: dict[str, int]) -> bool:
        """Whether what was unfinished then is finished, and these environments have released anew."""
        now = self.marks()
        if any(now.get(mark) == who for mark, who in marks.items()):
            return False
        return all(self.newest_release(name) > number for name, number in releases.items())

    def lost_and_doubled(self) -> tuple[int, int]:
        """Row by row, in raw and in what prod's and dev's readers get at the end, against what was brought."""
        lost = doubled = 0
        with closing(self.lake.connect(read_only=True)) as connection:
            row = connection.execute(f"SELECT max(load) FROM raw.{feed.ORDERS}").fetchone()
            loads = int(row[0] or 0) if row else 0
            orders: dict[int, int] = {}
            lines: dict[int, int] = {}
            for load in range(1, loads + 1):
                brought, brought_lines = feed.rows(load)
                orders |= {row["order_id"]: row["cents"] for row in brought}
                lines |= {row["line_id"]: row["cents"] for row in brought_lines}
            for table, key, truth in ((feed.ORDERS, "order_id", orders), (feed.LINES, "line_id", lines)):
                rows = connection.execute(f"SELECT {key}, cents FROM raw.{table}").fetchall()
                found = dict(rows)
                doubled += len(rows) - len(found)
                lost += sum(found.get(name) != cents for name, cents in truth.items())
                doubled += len(found.keys() - truth.keys())
        return lost, doubled
