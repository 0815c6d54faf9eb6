"""What a load of any kind of source can tell and do; its subclasses know the kind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb

from lakehouse.lake.ducklake import Lake
from lakehouse_assets.defs.ingestion.sources import RawTable, tables_of

if TYPE_CHECKING:
    from dlt import Pipeline
    from dlt.extract.source import DltSource


class SourceLoad:
    """A load of one source: what it asks for, what came of it, what went wrong. Subclasses know the kind of source."""

    def __init__(self, lake: Lake, source: str) -> None:
        self.lake = lake
        self.source = source
        self.tables: list[RawTable] = tables_of(source)
        self.types: dict[str, str] = {}  # of the columns that the lake's table has

    @cached_property
    def reader(self) -> duckdb.DuckDBPyConnection:
        """One connection for all that is looked up once dlt is done: each costs a tenth of a second of a processor."""
        return self.lake.connect(read_only=True)

    def close(self) -> None:
        """Close it, if it was opened."""
        if "reader" in self.__dict__:
            self.reader.close()

    @property
    def is_asked_once(self) -> bool:
        """Whether what was read once can't be read again."""
        return False

    def dlt_source(self) -> DltSource:
        """The dlt source, told where to find its input."""
        raise NotImplementedError

    def metadata(self) -> dict[str, Any]:
        """What the asset's page shows of this load."""
        return {}

    def checks(self) -> Iterator[dg.AssetCheckResult]:
        """Results that don't stop anything, after the load."""
        yield from ()

    def before(self, pipeline: Pipeline) -> None:
        """Look at the state and schema that the lake has, before anything is read."""

    def extract(self, pipeline: Pipeline, source: DltSource, options: dict[str, Any]) -> None:
        """Read what the source has."""
        pipeline.extract(source, **options)

    def look(self, pipeline: Pipeline) -> None:
        """Look at what was read and is not loaded yet. An error here leaves the lake as it is."""

    def complete(self) -> None:
        """What is left to do in the lake once dlt is done, under the load's lock and mark."""

    def record(self, run: str) -> None:
        """Write down what the load did, once it is whole."""

    def problem(self) -> dg.Failure | None:
        """Why the load is not whole although it ended."""
        return None
