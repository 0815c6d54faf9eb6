"""Where a SQLMesh project's files are, and whether they changed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

# What SQLMesh reads: code, settings, seeds. Its caches, logs and DuckDB files change with every run.
SUFFIXES = {".sql", ".py", ".yaml", ".yml", ".csv", ".toml", ".json", ".jinja", ".j2"}
NOT_SOURCES = {"logs", "__pycache__", "node_modules"}


def _unwatched(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class ProjectFiles:
    """The files of a project, seen through one gateway as one environment; see SqlmeshProject."""

    path: str | Path | Sequence[str | Path]
    gateway: str | None = None
    environment: str = "prod"
    cache_dir: str | Path | None = None
    writing: Callable[[str], AbstractContextManager[None]] = field(default=_unwatched, compare=False, repr=False)
    """What a model's rows are written in, by the physical table (`schema.table`): an error fails the model."""

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

    def content_key(self) -> str:
        """A hash of every file SQLMesh reads, of its version, and of how the project is seen.

        The same in every checkout: where the files lie does not count, but for further repositories of one project,
        whose paths are in the manifest.
        """
        folders = " ".join(map(str, self.folders[1:]))
        # The 7 stays whatever the manifest's FORMAT is: what was deployed before an upgrade still has this key.
        digest = hashlib.sha256(f"7 {folders} {self.gateway} {self.environment}".encode())
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
