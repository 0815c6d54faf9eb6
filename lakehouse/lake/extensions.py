"""DuckDB's extensions from their wheels: a folder of links, so that nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
import os
import threading
from functools import lru_cache
from pathlib import Path

import duckdb

EXTENSIONS = {
    "ducklake": "duckdb_extension_ducklake",
    "postgres_scanner": "duckdb_extension_postgres_scanner",
    "httpfs": "duckdb_extension_httpfs",
}

_one_thread = threading.Lock()


@lru_cache  # a process that works for several lakehouses checks once
def _check_signature(file: Path, package: str) -> None:
    path = str(file).replace("'", "''")
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
            connection.execute(f"LOAD '{path}'")
    except duckdb.Error as error:
        raise RuntimeError(
            f"{file} can't be loaded: {str(error).splitlines()[0]}\n"
            f"Install it again: pip install --force-reinstall {package.replace('_', '-')}=={duckdb.__version__}"
        ) from error


def extension_directory(cache_dir: Path) -> Path:
    """A folder that DuckDB takes as its `extension_directory`; INSTALL and LOAD both work from it.

    What is linked there carries DuckDB's signature: that is checked when the link is made.
    """
    with _one_thread:
        return _extension_directory(cache_dir)


@lru_cache
def _extension_directory(cache_dir: Path) -> Path:
    # Not `duckdb.sql`: its connection is the whole process's, and two threads take each other's answers.
    with duckdb.connect() as connection:
        row = connection.execute("SELECT version(), (SELECT platform FROM pragma_platform())").fetchone()
    assert row is not None
    version, platform = row
    root = cache_dir / "extensions"
    folder = root / version / platform
    folder.mkdir(parents=True, exist_ok=True)
    for name, package in EXTENSIONS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"The package {package} is not installed: pip install -r requirements.lock")
        target = Path(spec.origin).parent / "extensions" / version / f"{name}.duckdb_extension"
        link = folder / target.name
        if not link.is_symlink() or Path(os.readlink(link)) != target:
            _check_signature(target, package)
            # Another process may do the same at the same time: make it aside, then rename.
            aside = folder / f".{target.name}.{os.getpid()}"
            aside.unlink(missing_ok=True)
            aside.symlink_to(target)
            aside.replace(link)
    return root
