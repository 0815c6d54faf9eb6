"""Where a SQLMesh project is, and its manifest: rebuilt by itself when a file of the project changes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from lakehouse_assets.sqlmesh_integration.manifest import FORMAT, Manifest

logger = logging.getLogger(__name__)

# What SQLMesh reads: code, settings, seeds. Its caches, logs and DuckDB files change with every run.
SUFFIXES = {".sql", ".py", ".yaml", ".yml", ".csv", ".toml", ".json", ".jinja", ".j2"}
NOT_SOURCES = {"logs", "__pycache__", "node_modules"}


@dataclass(frozen=True)
class SqlmeshProject:
    """A SQLMesh project, seen through one gateway as one environment.

    `cache_dir` holds the manifest and may be deleted at any time; give every environment of one project the
    same folder if you like, the file's name tells them apart.
    """

    path: str | Path
    gateway: str | None = None
    environment: str = "prod"
    cache_dir: str | Path | None = None

    @property
    def folder(self) -> Path:
        return Path(self.path).resolve()

    @property
    def manifest_path(self) -> Path:
        folder = Path(self.cache_dir) if self.cache_dir else self.folder / ".cache" / "dagster"
        return folder / f"sqlmesh_manifest_{self.gateway or 'default'}_{self.environment}.json"

    def manifest(self) -> Manifest:
        """The models as they are in the files now; with `errors`, and as last known, when they don't parse."""
        key = self.content_key()
        known = _read(self.manifest_path)
        if known and known.key == key:
            return known
        return _build_once(self, key)

    def content_key(self) -> str:
        """A hash of every file SQLMesh reads, of its version, and of how the project is seen."""
        digest = hashlib.sha256(f"{FORMAT} {self.folder} {self.gateway} {self.environment}".encode())
        for package in ("sqlmesh", "sqlglot"):
            digest.update(importlib.metadata.version(package).encode())
        for file in sorted(_sources(self.folder)):
            digest.update(os.fsencode(file.relative_to(self.folder)) + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    entries = list(os.scandir(folder))
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return  # a virtual environment inside the project
    for entry in entries:
        if entry.name.startswith(".") or entry.name in NOT_SOURCES:
            continue
        if entry.is_dir():
            yield from _sources(Path(entry.path))
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            yield Path(entry.path)


def _read(path: Path) -> Manifest | None:
    try:
        return Manifest.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("the cached manifest %s is not readable and is built again: %s", path, error)
        return None


@lru_cache(maxsize=32)  # a project that does not parse is tried once per content, not at every look
def _build_once(project: SqlmeshProject, key: str) -> Manifest:
    from lakehouse_assets.sqlmesh_integration.manifest_builder import ProjectError, build

    try:
        manifest = build(project, key)
    except ProjectError as error:
        logger.error("%s", error)
        known = _read(project.manifest_path) or Manifest(key="", models=())
        return replace(known, errors=(str(error),))
    _write(project.manifest_path, manifest.dumps())
    return manifest


def _write(path: Path, text: str) -> None:
    """Atomically: another process reads the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)
