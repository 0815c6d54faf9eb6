"""A lake to load into and read back, and a folder to land files in."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt

from dlt_sources.landing.landed import LandedFile, LandingReport
from dlt_sources.nyc_collisions import COLUMNS
from dlt_sources.soda.client import Retry, SodaClient
from dlt_sources.soda.source import SodaDataset
from lakehouse.demo.portal import DATASET_ID, RunningPortal
from lakehouse.lake.ducklake import Lake
from lakehouse.writing.pipelines import lake_pipeline

IMPATIENT = Retry(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.05, timeout_seconds=120)


@dataclass(frozen=True)
class Loader:
    """Loads into a lake of its own, and reads it back."""

    lake: Lake

    def pipeline(self, source: str) -> dlt.Pipeline:
        """The source's pipeline, as the project makes it."""
        self.lake.settings.pipelines_dir.mkdir(parents=True, exist_ok=True)
        return lake_pipeline(self.lake, source)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the lake's head answers."""
        with closing(self.lake.connect()) as connection:
            return connection.execute(sql).fetchall()

    def value(self, sql: str) -> Any:
        """The one value that the lake's head answers."""
        ((value,),) = self.rows(sql)
        return value

    def load_files(self, source: Callable[..., Any], files: Sequence[LandedFile]) -> LandingReport:
        """One load of landed files."""
        report = LandingReport()
        self.pipeline(source().name).run(source(files, report))
        return report

    def load_collisions(self, portal: RunningPortal | str, **settings: Any) -> SodaDataset:
        """One load from the portal."""
        collisions = collisions_of(portal, page_rows=settings.pop("page_rows", 50_000))
        collisions.resource.bind(**settings)
        self.pipeline("nyc_collisions").run(collisions.resource)
        return collisions


def collisions_of(portal: RunningPortal | str, **options: Any) -> SodaDataset:
    """The collisions of a local portal, under the table's name in the lake."""
    address = portal if isinstance(portal, str) else portal.base_url
    return SodaDataset(
        "nyc_collisions__crashes", address, DATASET_ID, columns=COLUMNS, key="collision_id", time="crash_date",
        retry=IMPATIENT, **options,
    )  # fmt: skip


def portal_count(portal: RunningPortal, since: str | None = None) -> int:
    """How many crashes the portal has."""
    where = f"crash_date >= '{since}T00:00:00.000'" if since else None
    return SodaClient(portal.base_url, DATASET_ID, retry=IMPATIENT).count(where)


@dataclass(frozen=True)
class Landing:
    """A folder of landed files of one dataset; the etag is the content's digest."""

    folder: Path
    dataset: str

    def write(self, name: str, content: str | bytes) -> LandedFile:
        """Put a file there, or replace it."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.file(path)

    def copy(self, source: Path) -> LandedFile:
        """Put a copy of a file there."""
        shutil.copyfile(source, self.folder / source.name)
        return self.file(self.folder / source.name)

    def file(self, path: Path) -> LandedFile:
        """The file as a source is given it."""
        etag = hashlib.sha256(path.read_bytes()).hexdigest()
        return LandedFile(f"{self.dataset}/{path.name}", str(path), etag)
