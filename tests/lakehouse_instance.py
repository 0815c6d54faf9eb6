"""A lakehouse of its own for tests that run commands: a data folder, a Dagster home, a project folder, ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import click
import psutil
from click.testing import CliRunner
from dotenv import dotenv_values

from lakehouse.cli.main import grouped_commands
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import leave
from lakehouse.settings import PROJECT_ROOT, Settings, load_settings
from tests.ports import free_ports
from tests.shared_cache import PARTS, link_cache

TOOLS = Path(sys.executable).parent
LINKED = ("pyproject.toml", "workspace.yaml", "lakehouse", "lakehouse_assets", "dlt_sources", "sqlmesh_project")
COMMAND_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class LakehouseInstance:
    """Where a test's lakehouse lies and how its commands are run. Nothing of the developer's own is touched."""

    root: Path
    port: int
    query_port: int
    dashboard_port: int
    extra: dict[str, str] = field(default_factory=dict)
    """Settings beyond its own, such as another storage."""

    @property
    def data_dir(self) -> Path:
        """What LAKEHOUSE_DATA_DIR names."""
        return self.root / "data"

    @property
    def project(self) -> Path:
        """The project's root as Dagster's commands see it: linked files and a `.env` of its own."""
        return self.root / "project"

    @property
    def variables(self) -> dict[str, str]:
        """The settings that make it its own."""
        return {
            "DAGSTER_HOME": str(self.root / "dagster_home"),
            "LAKEHOUSE_DATA_DIR": str(self.data_dir),
            "LAKEHOUSE_STORAGE": str(self.data_dir / "storage"),
            "LAKEHOUSE_WEBSERVER_PORT": str(self.port),
            "LAKEHOUSE_QUERY_PORT": str(self.query_port),
            "LAKEHOUSE_QUERY_POSTGRES_PORT": "0",
            "LAKEHOUSE_DASHBOARD_PORT": str(self.dashboard_port),
            "LAKEHOUSE_LOCK_TIMEOUT_SECONDS": "120",
            "LAKEHOUSE_RELEASE_DOCS": "false",  # seconds of each release; its tests turn it on
            **self.extra,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its `lakehouse` commands: a terminal of 80 columns and no colours."""
        return {**bare_environment(), **self.variables}

    @property
    def lake(self) -> Lake:
        """Its lake, read in this process."""
        return Lake(Settings(data_dir=self.data_dir, storage=str(self.data_dir / "storage")))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The lake's answer, at its head."""
        with closing(self.lake.connect(read_only=True)) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return rows

    def value(self, sql: str) -> Any:
        """The one value that the lake answers."""
        ((value,),) = self.rows(sql)
        return value

    def lakehouse(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `lakehouse …` to its end; `settings` are LAKEHOUSE_… variables without their prefix."""
        extra = {f"LAKEHOUSE_{name.upper()}": value for name, value in settings.items()}
        return subprocess.run(
            [str(TOOLS / "lakehouse"), *arguments], env={**self.environment, **extra}, cwd=self.root,
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """The same in this process, which has imported it all already: a fraction of the time."""
        extra = {f"LAKEHOUSE_{name.upper()}": value for name, value in settings.items()}
        load_settings.cache_clear()
        try:
            environment = {**self.variables, **extra, "COLUMNS": "80", "NO_COLOR": "1"}
            done = CliRunner().invoke(_commands(), arguments, env=environment)
        finally:
            load_settings.cache_clear()
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def activated(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command line in the project's folder as a user does: the virtual environment activated, no more."""
        return subprocess.run(
            self._activating(command), env=self._isolated, cwd=self.project,
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip

    def started(self, command: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """The same for one that stays."""
        return subprocess.Popen(
            self._activating(command), env=self._isolated, cwd=self.project, stdout=output, stderr=output,
            # A shell starts what it puts into the background with SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def _activating(self, command: str) -> list[str]:
        return ["bash", "-c", f". '{TOOLS / 'activate'}' && {command}"]

    @property
    def _isolated(self) -> dict[str, str]:
        """Our own settings: not every command looks into the folder's `.env`. Dagster's variables are left out."""
        ours = {name: value for name, value in self.variables.items() if name.startswith("LAKEHOUSE_")}
        return {**bare_environment(), **ours}

    def processes(self) -> list[psutil.Process]:
        """Every process of this lakehouse but the tests themselves: by its environment or its folder.

        `process.info` stays when the process has gone.
        """
        found = psutil.process_iter(["name", "cmdline"])
        return [process for process in found if process.pid != os.getpid() and self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            # The dashboard's environment names nothing of ours: it is known by its working directory.
            named = any(str(self.data_dir) in word for word in (*process.cmdline(), process.cwd()))
            return named or process.environ().get("LAKEHOUSE_DATA_DIR") == str(self.data_dir)
        except psutil.Error:  # it has just ended
            return False

    def close(self) -> None:
        """Give the embedded PostgreSQL back, if this process has used it."""
        leave(self.data_dir / "postgres")


@cache
def _commands() -> click.Command:
    return grouped_commands()


def bare_environment() -> dict[str, str]:
    """The environment of a shell in which nobody has exported anything of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "LAKEHOUSE_"))}
    return {**kept, "COLUMNS": "80", "NO_COLOR": "1"}


def create_instance(root: Path) -> LakehouseInstance:
    """An empty one in an empty folder."""
    developers = dotenv_values(PROJECT_ROOT / ".env")
    assert not developers.get("LAKEHOUSE_POSTGRES_URL"), (
        "These tests start a PostgreSQL of their own, and .env names yours in LAKEHOUSE_POSTGRES_URL, where they would "
        "write. Take it out of .env while they run."
    )
    instance = LakehouseInstance(root, *free_ports(3))
    link_cache(instance.data_dir, *PARTS)
    home = Path(instance.variables["DAGSTER_HOME"])
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "dagster_home" / "dagster.yaml", home)
    instance.project.mkdir()
    for name in LINKED:
        (instance.project / name).symlink_to(PROJECT_ROOT / name)
    dotenv = "".join(f"{name}={value}\n" for name, value in instance.variables.items())
    (instance.project / ".env").write_text(dotenv)
    return instance
