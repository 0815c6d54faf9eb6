"""A lakehouse of its own for a case, gone after it: a data folder, an embedded PostgreSQL, a Dagster home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measurement import Sample
from lakehouse.child_environments import child_environment
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import join, leave
from lakehouse.settings import PROJECT_ROOT, Settings

TOOLS = Path(sys.executable).parent
SAMPLING_SECONDS = 0.2


class CaseError(Exception):
    """A case could not be measured; the message says what failed, without paths of this machine."""


@dataclass(frozen=True)
class Throwaway:
    """Where it lies and how commands run in it."""

    root: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    """Settings beyond its own, such as another storage."""

    @property
    def settings(self) -> Settings:
        """Its settings, whatever the developer's own are."""
        return Settings(data_dir=self.root / "data", storage=str(self.root / "data" / "storage"), environment="prod")

    @property
    def lake(self) -> Lake:
        """Its lake. For children only: a command's peak memory is at least that of the process that starts it."""
        return Lake(self.settings)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its commands."""
        extra = {
            "LAKEHOUSE_DATA_DIR": str(self.settings.data_dir),
            "LAKEHOUSE_STORAGE": self.settings.storage,
            "LAKEHOUSE_ENVIRONMENT": "prod",
            "DAGSTER_HOME": str(self.root / "dagster_home"),
            "PYTHONPATH": str(PROJECT_ROOT),
            "COLUMNS": "80",
            "NO_COLOR": "1",
            **self.extra,
        }
        return child_environment(self.settings, extra)

    def command(self, *words: str, cwd: Path | None = None, **variables: str) -> Sample:
        """Run one of the environment's tools to its end; raises CaseError when it fails."""
        return self._run([str(TOOLS / words[0]), *words[1:]], cwd or self.root, variables)

    def call(self, function: str, variables: Mapping[str, str] | None = None, /, **arguments: Any) -> Any:
        """What `package.module:function` gives, called in a process of its own with this lakehouse's settings."""
        answer = self.root / "answer.json"
        answer.unlink(missing_ok=True)
        words = [sys.executable, "-m", "benchmarks.inside", function, json.dumps(arguments), str(answer)]
        self._run(words, self.root, variables or {})
        return json.loads(answer.read_text())

    def shown(self, *words: str) -> str:
        """A command as the document shows it: no path of this machine."""
        return self.without_paths(" ".join(f"'{word}'" if set(word) & set(" ;'\"") else word for word in words))

    def without_paths(self, text: str) -> str:
        """The text with the places of this machine named instead."""
        return text.replace(str(self.root), "…").replace(str(PROJECT_ROOT), ".").replace(str(TOOLS), ".venv/bin")

    def _run(self, command: Sequence[str], cwd: Path, variables: Mapping[str, str]) -> Sample:
        log = self.root / "command.log"
        before = self._postgres_cpu_seconds()
        started = time.perf_counter()
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=cwd, env={**self.variables, **variables}
            )
            postgres_peak = 0
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                postgres_peak = max([postgres_peak, *(_resident(one) for one in self._postgres())])
                # Short steps at first, so that a short command is not rounded up.
                time.sleep(min(SAMPLING_SECONDS, 0.005 + (time.perf_counter() - started) / 50))
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            told = self.without_paths(log.read_text(errors="replace")).strip().splitlines()
            trace = "\n".join(told[-12:])
            raise CaseError(f"`{self.shown(*command[:4])} …` ended with {process.returncode}:\n\n```\n{trace}\n```")
        cpu = usage.ru_utime + usage.ru_stime + max(0.0, self._postgres_cpu_seconds() - before)
        return Sample(seconds, cpu, max(usage.ru_maxrss * 1024, postgres_peak))

    def _postgres(self) -> list[psutil.Process]:
        """The embedded server's processes; none while it is down."""
        try:
            pid = int((self.settings.data_dir / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
            return [psutil.Process(pid), *psutil.Process(pid).children()]
        except (OSError, IndexError, ValueError, psutil.Error):  # not there yet, or just gone
            return []

    def _postgres_cpu_seconds(self) -> float:
        """What the server used until now, backends that have ended included."""
        total = 0.0
        for number, one in enumerate(self._postgres()):
            try:
                times = one.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
            total += times.children_user + times.children_system if number == 0 else 0
        return total


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


@contextmanager
def throwaway(*, with_postgres: bool = True, extra: Mapping[str, str] | None = None) -> Iterator[Throwaway]:
    """An empty one. With PostgreSQL it runs until the end, so that no command starts or stops it."""
    if Settings().postgres_url.get_secret_value():
        raise CaseError("The benchmarks start a PostgreSQL of their own: take LAKEHOUSE_POSTGRES_URL away meanwhile.")
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        root.chmod(0o755)  # PostgreSQL does not run as root and must reach its files
        (root / "dagster_home").mkdir()
        shutil.copy(PROJECT_ROOT / "dagster_home" / "dagster.yaml", root / "dagster_home")
        lakehouse = Throwaway(root, extra or {})
        server = lakehouse.settings.data_dir / "postgres"
        try:
            if with_postgres:
                join(server)
                lakehouse.call("benchmarks.throwaway:bootstrap")
            yield lakehouse
        finally:
            leave(server)


def bootstrap() -> None:
    """In a child: create the lake."""
    from lakehouse.settings import load_settings

    Lake(load_settings()).bootstrap()
