"""What the sources' tests share: a lake to load into, a portal to load from, files to land."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from lakehouse.demo.portal import RunningPortal, serve
from lakehouse.lake.ducklake import Lake
from tests.dlt_sources.loading import Landing, Loader


@pytest.fixture
def loader(lake: Lake) -> Loader:
    """An empty lake, and pipelines into it."""
    return Loader(lake)


@pytest.fixture(scope="session")
def few_collisions(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 of the real collisions."""
    target = tmp_path_factory.mktemp("collisions") / "collisions.parquet"
    source = shared_data / "collisions" / "collisions_soda_strings.parquet"
    duckdb.sql(f"COPY (FROM '{source}' ORDER BY collision_id LIMIT 300) TO '{target}'")
    return target


@pytest.fixture
def portal(few_collisions: Path) -> Iterator[RunningPortal]:
    """A portal with 300 collisions."""
    with serve(few_collisions) as running:
        yield running


@pytest.fixture
def landing(tmp_path: Path) -> Callable[[str], Landing]:
    """Landing folders, by dataset."""

    def of(dataset: str) -> Landing:
        folder = tmp_path / "landing" / dataset
        folder.mkdir(parents=True, exist_ok=True)
        return Landing(folder, dataset)

    return of
