"""Where a SQLMesh project is, and its manifest: rebuilt by itself when a file of the project changes."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from lakehouse_assets.sqlmesh_integration.manifest import Manifest
from lakehouse_assets.sqlmesh_integration.project_files import ProjectFiles

logger = logging.getLogger(__name__)

_failures: dict[tuple[SqlmeshProject, str], str] = {}
"""A project that does not parse is tried once per content, not at every look."""


@dataclass(frozen=True)
class SqlmeshProject(ProjectFiles):
    """A SQLMesh project, seen through one gateway as one environment.

    Of several repositories in one project (SQLMesh's `-p one -p two`) give all the paths. The first one's connections
    are used, as SQLMesh does; relative DuckDB files lie in its folder.

    `cache_dir` holds the manifest and may be deleted at any time; give every environment of one project the
    same folder if you like, the file's name tells them apart.
    """

    def manifest(self) -> Manifest:
        """The models as they are in the files now; with `errors`, and as last known, when they can't be read.

        Raises ProjectError where none are known: with no model to show, a run over nothing would be a success.
        """
        key = self.content_key()
        known = _read(self.manifest_path)
        if known and known.key == key:
            return known
        failure = _failures.get((self, key)) if known else None
        if failure is None:
            from lakehouse_assets.sqlmesh_integration.manifest_builder import ProjectError, build

            try:
                built = build(self, key)
            except ProjectError as error:
                if known is None:
                    raise
                failure = str(error)
                logger.error("%s Its models show as they were last known.", failure)
                if not error.is_lock:
                    _failures[self, key] = failure
            else:
                _write(self.manifest_path, built.dumps())
                return built
        assert known is not None
        return replace(known, errors=(failure,))


def _read(path: Path) -> Manifest | None:
    try:
        return Manifest.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("the cached manifest %s is not readable and is built again: %s", path, error)
        return None


def _write(path: Path, text: str) -> None:
    """Atomically: another process reads the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)
