"""The web UI follows a deploy and a new dataset by itself, without "Reload definitions".

The daemon takes its definitions anew every minute; dagster-webserver 1.13 keeps those that it started with, and answers
a backfill of a model that it doesn't know with an error. Edited files alone change nothing here: a model that is being
written must not take the whole code location away.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from contextlib import closing

import psycopg
from dagster._core.workspace.context import IWorkspaceProcessContext

from lakehouse.lake.postgres import PostgresError, connect
from lakehouse.settings import PROJECT_ROOT, Settings

POLL_SECONDS = 5.0


def definitions_version(settings: Settings) -> str:
    """Differs after a deploy or promotion of the environment, a change of a source's files, a load that made tables."""
    files = sorted(path for path in (PROJECT_ROOT / "dlt_sources").rglob("*") if path.suffix in (".py", ".toml"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file} {file.stat().st_mtime_ns} {file.stat().st_size}\n".encode())
    for learned in sorted((settings.data_dir / "sources").glob("*.json")):  # written anew by every load
        digest.update(learned.name.encode() + learned.read_bytes())
    with closing(connect(settings)) as connection:
        there = connection.execute("SELECT to_regclass('ledger.deployments') IS NOT NULL").fetchone()
        if there and there[0]:
            deployed = connection.execute(
                "SELECT max(deployed_at) FROM ledger.deployments WHERE environment = %s", [settings.environment]
            ).fetchone()
            digest.update(str(deployed).encode())
    return digest.hexdigest()


class Reloader(threading.Thread):
    """Reloads every code location of a webserver when their definitions' version changes; lives as long as it does."""

    def __init__(self, settings: Settings):
        super().__init__(name="reloader", daemon=True)
        self._settings = settings
        self._loaded = self._version()
        self._context: IWorkspaceProcessContext | None = None

    def watch(self, context: IWorkspaceProcessContext) -> None:
        """Begin. What changed since this was made was not there when the code locations were loaded."""
        self._context = context
        self.start()

    def run(self) -> None:
        """Look again and again."""
        assert self._context is not None
        while True:
            time.sleep(POLL_SECONDS)
            version = self._version()
            if version and version != self._loaded:
                for name in self._context.create_request_context().code_location_names:
                    self._context.reload_code_location(name)
                    logging.getLogger("dagster-webserver").info("Reloaded %s: its definitions changed", name)
                self._loaded = version

    def _version(self) -> str:
        """Empty while PostgreSQL is away, or when a file goes while it is looked at."""
        try:
            return definitions_version(self._settings)
        except (PostgresError, psycopg.Error, OSError):
            return ""
