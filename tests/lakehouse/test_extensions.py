"""DuckDB's extensions: what is not signed by DuckDB is never linked."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from lakehouse.lake import extensions
from lakehouse.lake.connections import duckdb_config
from lakehouse.lake.extensions import extension_directory
from lakehouse.settings import Settings


def test_every_connection_loads_them_from_the_folder(tmp_path: Path) -> None:
    with duckdb.connect(config=duckdb_config(Settings(data_dir=tmp_path))) as connection:
        for name in extensions.EXTENSIONS:
            connection.execute(f"LOAD {name}")
        rows = connection.execute("SELECT extension_name FROM duckdb_extensions() WHERE loaded").fetchall()
    assert {name for (name,) in rows} >= extensions.EXTENSIONS.keys()


def test_one_that_was_tampered_with_is_refused_and_not_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = extensions.EXTENSIONS["httpfs"]
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    (true,) = Path(spec.origin).parent.rglob("httpfs.duckdb_extension")
    copy = tmp_path / "site" / true.relative_to(Path(spec.origin).parent)
    copy.parent.mkdir(parents=True)
    content = bytearray(true.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    tampered = importlib.machinery.ModuleSpec(package, None, origin=str(tmp_path / "site" / "__init__.py"))
    monkeypatch.setattr(extensions, "EXTENSIONS", {"httpfs": package})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: tampered)
    with pytest.raises(RuntimeError, match="signature(.|\n)*pip install --force-reinstall duckdb-extension-httpfs=="):
        extension_directory(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.duckdb_extension"))


def test_twenty_threads_may_open_their_first_connection_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(20)

    def first(folder: Path) -> Path:
        barrier.wait()
        return extension_directory(folder)

    with ThreadPoolExecutor(20) as threads:
        for number in range(10):
            folder = tmp_path / str(number)
            assert set(threads.map(first, [folder] * 20)) == {folder / "extensions"}
