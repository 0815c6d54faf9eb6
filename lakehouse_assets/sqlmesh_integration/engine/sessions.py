"""One SQLMesh context per process and project."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmesh import Context
from sqlmesh.core import constants
from sqlmesh.core.config import Config
from sqlmesh.core.config.loader import load_configs
from sqlmesh.core.console import set_console
from sqlmesh.core.lineage import CACHE as LINEAGE_CACHE
from sqlmesh.utils import sys_path

from lakehouse_assets.sqlmesh_integration.engine.connections import settle
from lakehouse_assets.sqlmesh_integration.engine.evaluation import RecordingEvaluator
from lakehouse_assets.sqlmesh_integration.engine.events import EventConsole, nowhere
from lakehouse_assets.sqlmesh_integration.engine.objects import forget_objects

if TYPE_CHECKING:
    from lakehouse_assets.sqlmesh_integration.project_files import ProjectFiles


class Session:
    """One project's SQLMesh context. Only the thread that holds `session()` may use it."""

    def __init__(self, project: ProjectFiles, settings: bytes):
        self.project = project
        self.settings = settings
        self.console = EventConsole()
        set_console(self.console)
        stay_in_process()
        configs = load_configs(None, Config, [str(folder) for folder in project.folders])
        for config in configs.values():
            settle(config, project.folder)
        self.context = Context(config=configs, gateway=project.gateway, load=False)
        self.context.console = self.console
        self._loaded_key: str | None = None

    def loaded(self) -> Context:
        """The context with the project's files as they are now: for manifests and plans, not for runs."""
        key = self.project.content_key()
        if self._loaded_key != key:
            LINEAGE_CACHE.clear()
            self._loaded_key = None
            self.context.load()
            self._loaded_key = key
        return self.context

    def ready_to_run(self) -> Context:
        """The context with what stored models need: custom kinds."""
        self.context._load_materializations()
        return self.context


def stay_in_process() -> None:
    """Parse files and render queries here, unless MAX_FORK_WORKERS, a variable of SQLMesh's own, says otherwise.

    SQLMesh forks its process for both, and at every read of its state. This one has threads (Dagster's, gRPC's,
    DuckDB's), and the fork of such a process may hang or die. Nor does it pay: a project of 300 models that is parsed
    already loads in 1.7 instead of 1.9 s, with 1.8 instead of 2.7 s of a processor.
    """
    if not os.environ.get("MAX_FORK_WORKERS"):  # the constant does not tell a user's word from the count of cores
        constants.MAX_FORK_WORKERS = 1


def _settings(folders: Iterable[Path]) -> bytes:
    """The project's configuration as it is now: another one needs another context."""
    files = [file for folder in folders for file in sorted(folder.glob("config.*")) if file.is_file()]
    return b"".join(file.read_bytes() for file in files)


_lock = threading.RLock()
_sessions: dict[tuple[tuple[Path, ...], str | None], Session] = {}


@contextmanager
def session(project: ProjectFiles) -> Iterator[Session]:
    """The process's one context for this project, one user at a time.

    Two contexts at work at once in a process break each other. Connections close at the end: an open DuckDB
    file, as state or as warehouse, locks every other process out.
    """
    identity = (project.folders, project.gateway)
    with _lock:
        settings = _settings(project.folders)
        current = _sessions.get(identity)
        if current is None or current.settings != settings:
            current = _sessions[identity] = Session(project, settings)
        current.project = project
        set_console(current.console)
        evaluator = RecordingEvaluator.of(current.context)
        evaluator.writing = project.writing
        current.context._snapshot_evaluator = evaluator
        forget_objects(evaluator)
        # Its snapshots may be 120 s old; and SQLMesh keeps one that it could not open, or whose file was replaced.
        current.context._state_sync = None
        try:
            # Only while it is used: another project's `macros` would be found in its place.
            with sys_path(*project.folders):
                yield current
        finally:
            current.console.sink = evaluator.sink = nowhere
            current.context.close()
