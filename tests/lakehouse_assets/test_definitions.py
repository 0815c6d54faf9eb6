"""The code location loads lean: its libraries stay out, and what it knows of them follows the files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakehouse.settings import PROJECT_ROOT

SCRIPT = """
import json, sys
from lakehouse_assets.definitions import defs
specs = [spec for assets in defs.assets for spec in assets.specs]
print(json.dumps({
    "imported": sorted({"sqlmesh", "dlt", "boto3"} & set(sys.modules)),
    "descriptions": {spec.key.to_user_string(): spec.description for spec in specs},
}))
"""
Load = Callable[[], dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code, to be changed."""
    for name in ("lakehouse", "lakehouse_assets", "dlt_sources", "sqlmesh_project"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / "project" / name)
    return tmp_path / "project"


@pytest.fixture
def load(project: Path, lakehouse_environment: dict[str, str]) -> Load:
    """Load the copy's code location in a new process."""

    def in_new_process() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=project,
            env={**os.environ, **lakehouse_environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])  # DuckDB shows a bar above, where it waits, in `python -c`

    return in_new_process


def test_a_process_that_loads_what_has_not_changed_imports_neither_sqlmesh_nor_dlt_nor_boto3(load: Load) -> None:
    first = load()
    assert "sqlmesh" in first["imported"]
    assert load() == {**first, "imported": []}


@pytest.mark.slow
def test_a_changed_source_shows_in_the_next_process(project: Path, load: Load) -> None:
    load()
    for file, table, old, new in (
        ("datasets/ecommerce.toml", "raw/ecommerce__events", "Purchases and refunds", "Sales and refunds"),
        ("nyc_collisions.py", "raw/nyc_collisions__crashes", "Motor vehicle collisions", "Collisions"),
    ):
        source = project / "dlt_sources" / file
        source.write_text(source.read_text().replace(old, new))
        changed = load()
        assert changed["descriptions"][table].startswith(new)
        assert changed["imported"] == [], "a file is read in a process of its own"
    assert load() == {**changed, "imported": []}
