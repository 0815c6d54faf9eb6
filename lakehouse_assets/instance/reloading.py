"""The web UI and the daemon follow a deploy and a new dataset by themselves, without "Reload definitions".

Dagster (1.13) keeps the definitions that it loaded, and answers a backfill of a model that it doesn't know with an
error; a code server whose process was killed, or that could not load while PostgreSQL was away, stays as it is until
somebody clicks. Edited files of models alone change nothing here: a model that is being written must not take the whole
code location away.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg

from lakehouse.lake.postgres import PostgresError, connect
from lakehouse.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from dagster._core.workspace.context import BaseWorkspaceRequestContext, IWorkspaceProcessContext

VERSION = "lakehouse/definitions"
"""Under this name a code location's metadata have the version that it was loaded with."""
POLL_SECONDS = 5.0
RETRY_SECONDS = 60.0
SILENT = "it did not answer"


def definitions_version(settings: Settings) -> str:
    """Differs after a deploy or promotion of the environment, a change of a source's files, a load that made tables.

    Empty when it can't be told: PostgreSQL is away, or a file goes while it is looked at.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(path for path in (PROJECT_ROOT / "dlt_sources").rglob("*") if path.suffix in (".py", ".toml"))
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
    except (PostgresError, psycopg.Error, OSError):
        return ""
    return digest.hexdigest()


class Reloader(threading.Thread):
    """Reloads a webserver's code locations when they are behind, silent or broken; lives as long as it does."""

    def __init__(self, settings: Settings, context: IWorkspaceProcessContext):
        super().__init__(name="reloader", daemon=True)
        self._settings = settings
        self._context = context
        self._silent = set[str]()
        self._tried: dict[str, float] = {}

    def run(self) -> None:
        """Look again and again."""
        logger = logging.getLogger("dagster-webserver")
        while True:
            time.sleep(POLL_SECONDS)
            try:
                request = self._context.create_request_context()
                for name in request.code_location_names:
                    if why := self._why(request, name):
                        self._tried[name] = time.monotonic()
                        self._context.reload_code_location(name)
                        logger.info("Reloaded %s: %s", name, why)
            except Exception:  # whatever Dagster raises, the next look may be better
                logger.exception("The code locations could not be looked at")

    def _why(self, request: BaseWorkspaceRequestContext, name: str) -> str:
        """Why the location has to be loaded again; nothing when all is well, or was tried a moment ago."""
        if time.monotonic() < self._tried.get(name, 0) + RETRY_SECONDS and not request.has_code_location(name):
            return ""
        if not request.has_code_location(name):
            return "it could not be loaded"
        location = request.get_code_location(name)
        try:
            location.client.ping("")  # type: ignore[attr-defined]
        except Exception:
            was_silent, self._silent = name in self._silent, self._silent ^ {name}
            return SILENT if was_silent else ""  # the first time it may only be busy
        self._silent.discard(name)
        loaded = [
            value.value for repository in location.get_repositories().values()
            if (value := (repository.repository_snap.metadata or {}).get(VERSION))
        ]  # fmt: skip
        wanted = definitions_version(self._settings)
        return "its definitions changed" if wanted and loaded and loaded != [wanted] else ""
