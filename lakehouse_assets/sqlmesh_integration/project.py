"""Where a SQLMesh project is, and its manifest: rebuilt by itself when a file of the project changes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lakehouse_assets.sqlmesh_integration.manifest import FORMAT, Manifest

logger = logging.getLogger(__name__)

# What SQLMesh reads: code, settings, seeds. Its caches, logs and DuckDB files change with every run.
SUFFIXES = {".sql", ".py", ".yaml", ".yml", ".csv", ".toml", ".json", ".jinja", ".j2"}
NOT_SOURCES = {"logs", "__pycache__", "node_modules"}


_failures: dict[tuple[SqlmeshProject, str], str] = {}
"""A project that does not parse is tried once per content, not at every look."""


@dataclass(frozen=True)
class SqlmeshProject:
    """A SQLMesh project, seen through one gateway as one environment.

    Of several repositories in one project (SQLMesh's `-p one -p two`) give all the paths. The first one's connections
    are used, as SQLMesh does; relative DuckDB files lie in its folder.

    `cache_dir` holds the manifest and may be deleted at any time; give every environment of one project the
    same folder if you like, the file's name tells them apart.
    """

    path: str | Path | Sequence[str | Path]
    gateway: str | None = None
    environment: str = "prod"
    cache_dir: str | Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | Path):
            object.__setattr__(self, "path", tuple(self.path))  # with a list it could be no key of a cache
        if not self.folders:
            raise ValueError("a SQLMesh project needs the path of its folder, or several of them")

    @property
    def folders(self) -> tuple[Path, ...]:
        paths = (self.path,) if isinstance(self.path, str | Path) else self.path
        return tuple(Path(path).resolve() for path in paths)

    @property
    def folder(self) -> Path:
        """The first one."""
        return self.folders[0]

    @property
    def manifest_path(self) -> Path:
        folder = Path(self.cache_dir) if self.cache_dir else self.folder / ".cache" / "dagster"
        others = hashlib.sha256(repr(self.folders[1:]).encode()).hexdigest()[:8]
        several = f"_{others}" if len(self.folders) > 1 else ""
        return folder / f"sqlmesh_manifest_{self.gateway or 'default'}_{self.environment}{several}.json"

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

    def content_key(self) -> str:
        """A hash of every file SQLMesh reads, of its version, and of how the project is seen."""
        folders = " ".join(map(str, self.folders))
        digest = hashlib.sha256(f"{FORMAT} {folders} {self.gateway} {self.environment}".encode())
        for package in ("sqlmesh", "sqlglot"):
            digest.update(importlib.metadata.version(package).encode())
        for folder in self.folders:
            for file in sorted(_sources(folder)):
                digest.update(os.fsencode(file.relative_to(folder)) + b"\0")
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


def _write(path: Path, text: str) -> None:
    """Atomically: another process reads the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)
