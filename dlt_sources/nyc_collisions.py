"""New York's motor vehicle collisions, from the city's open-data portal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import dlt
import pyarrow as pa
from dlt.extract import DltResource

from dlt_sources.confirmed_loads import current_load_id
from dlt_sources.nyc_collisions_table import CRASHES, as_arrow
from dlt_sources.soda import Retry, SodaClient
from dlt_sources.soda_pages import pages
from dlt_sources.soda_progress import Progress

logger = logging.getLogger(__name__)
DATASET_ID = "h9gi-nx95"
TABLES = (CRASHES,)


@dataclass
class PortalReport:
    """What one load got from the portal. Filled while the source is extracted."""

    rows: int = 0
    pages: int = 0
    warnings: list[str] = field(default_factory=list)


@dlt.source(name="nyc_collisions")
def nyc_collisions(
    since: str | None = None,
    report: PortalReport | None = None,
    retry: Retry | None = None,
    page_rows: int = 50_000,
    overlap_seconds: float = 3600,
) -> DltResource:
    """Motor vehicle collisions in New York City, reported by the police.

    `since` (a date) leaves out earlier crashes. Only what changed after the last load is asked for.
    """
    told = report if report is not None else PortalReport()

    def crashes(base_url: str = dlt.config.value, app_token: str | None = None) -> Iterator[pa.Table]:
        client = SodaClient(base_url, DATASET_ID, app_token, retry or Retry(), told.warnings)
        progress = Progress.resume(dlt.current.resource_state(), client, _where(since), overlap_seconds, page_rows)
        for rows in pages(client, progress.start, _where(since), page_rows):
            progress.add(rows)
            told.rows += len(rows)
            told.pages += 1
            logger.info("nyc_collisions: page %d, %d rows so far", told.pages, told.rows)
            yield as_arrow(rows, current_load_id(), dlt.current.source_schema())
        progress.save(current_load_id())

    columns = CRASHES.dlt_columns()
    columns["portal_updated_at"]["dedup_sort"] = "desc"  # of a row that one load meets twice, the newest stays
    crashes.__doc__ = CRASHES.description
    resource: DltResource = dlt.resource(
        crashes,
        name=CRASHES.name,
        columns=columns,
        primary_key=CRASHES.key,
        write_disposition="merge",
    )
    return resource


def portal_count(
    base_url: str, app_token: str | None = None, since: str | None = None, retry: Retry | None = None
) -> int:
    """How many rows the portal itself says it has in the window of a load. Raises SodaError."""
    return SodaClient(base_url, DATASET_ID, app_token, retry or Retry()).count(_where(since))


def _where(since: str | None) -> str | None:
    return f"crash_date >= '{since}T00:00:00.000'" if since else None
