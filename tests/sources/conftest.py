"""A folder of source files of a test's own, and their assets, loaded as Dagster loads them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.writing import marks
from lakehouse_assets.cli import sources as sources_cli
from lakehouse_assets.defs.ingestion import describe_sources, sources
from lakehouse_assets.defs.ingestion.assets import source_assets
from lakehouse_assets.resources import LakeResource


def command(*arguments: str) -> Result:
    """`lakehouse source …`, in this process, on a wide terminal."""
    return CliRunner().invoke(sources_cli.app, ["source", *arguments], env={"COLUMNS": "200"})


@dataclass(frozen=True)
class Sources:
    """What a team does: puts files into the folder, looks at the graph, loads."""

    lake: Lake
    folder: Path

    def write(self, name: str, text: str) -> None:
        """Put `NAME.py` there, or replace it."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(text))
        sources.sources.cache_clear()

    def source(self, name: str) -> sources.Source:
        """What the code location knows of a source."""
        sources.sources.cache_clear()
        return sources.source_named(name)

    def assets(self, name: str) -> dg.AssetsDefinition:
        """Its assets, as a new process would show them."""
        sources.sources.cache_clear()
        return source_assets(name)

    def keys(self, name: str) -> set[str]:
        """Its tables' names in the graph."""
        return {key.path[-1] for key in self.assets(name).keys}

    def load(self, name: str, *tables: str, raise_on_error: bool = True, **config: Any) -> dg.ExecuteInProcessResult:
        """Materialize the source, or these tables of it."""
        return dg.materialize(
            [self.assets(name)],
            resources={"lake": LakeResource()},
            selection=[dg.AssetKey(["raw", table]) for table in tables] or None,
            run_config={"ops": {name: {"config": config}}} if config else None,
            raise_on_error=raise_on_error,
        )

    def failure(self, name: str) -> str:
        """What the run's page says of a load that fails."""
        done = self.load(name, raise_on_error=False)
        assert not done.success
        (failed,) = [event for event in done.all_events if event.is_step_failure]
        error: Any = failed.step_failure_data
        return str(error.user_failure_data.description if error.user_failure_data else error.error)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the lake's head answers."""
        with closing(self.lake.connect(read_only=True)) as connection:
            return connection.execute(sql).fetchall()

    def marks(self) -> list[str]:
        """Loads that are unfinished."""
        with closing(connect(self.lake.settings)) as connection:
            return [mark.scope for mark in marks.read(connection, "load")]


def describe_here(folder: Path, paths: list[Path]) -> str:
    """Read source files in this process: another one would import dlt each time."""
    for path in paths:
        describe_sources.describe_file(folder, path)
    return ""


@pytest.fixture
def team(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    """An empty lake and an empty folder of sources."""
    folder = tmp_path / "dlt_sources"
    folder.mkdir()
    (lake.settings.cache_dir / "sources").unlink()  # other tests have sources of these names
    monkeypatch.setattr(sources, "SOURCES_DIR", folder)
    monkeypatch.setattr(sources, "_describe", describe_here)
    sources.sources.cache_clear()
    yield Sources(lake, folder)
    sources.sources.cache_clear()
