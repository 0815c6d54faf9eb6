"""The raw assets: a multi-asset per dlt source, its specs from the manifest."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from lakehouse_assets.loading import RECONCILED, asset_key, load
from lakehouse_assets.resources import LakeResource
from lakehouse_assets.sources import SOURCES, RawTable, tables_of

PORTALS = {"nyc_collisions": "NYC Open Data"}


def raw_spec(table: RawTable) -> dg.AssetSpec:
    """What the web UI shows of a raw table before it is first loaded."""
    columns = [dg.TableColumn(name, type=kind, description=text) for name, kind, text in table.columns]
    return dg.AssetSpec(
        asset_key(table),
        description=table.description,
        group_name=table.source,
        kinds={"dlt", "ducklake"},
        owners=["team:ingestion"],
        metadata={
            "dagster/table_name": f"lakehouse.{table.full_name}",
            "dagster/column_schema": dg.TableSchema(columns),
            "event_time": table.event_time or "none: a change touches everything downstream",
        },
        # A dlt source that has nothing new is no new version of its table.
        skippable=False,
    )


def source_assets(source: str) -> dg.AssetsDefinition:
    """One source's tables. A pool of one keeps two loads of it from waiting inside their runs."""
    tables = tables_of(source)
    checks = [
        dg.AssetCheckSpec(
            RECONCILED,
            asset=asset_key(table),
            description=f"As many rows as {PORTALS[source]} counts itself. A difference only warns.",
        )
        for table in tables
        if source in PORTALS
    ]

    @dg.multi_asset(
        name=source,
        specs=[raw_spec(table) for table in tables],
        check_specs=checks,
        pool=f"load_{source}",
        can_subset=False,
        description=f"Load what is new in {source}.",
    )
    def load_source(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        # Imported here: it brings dlt, which a process that only looks at the graph does without.
        from dagster_dlt import DagsterDltResource

        yield from load(context, DagsterDltResource(), lake.lake, source)

    return load_source


raw_assets = [source_assets(source) for source in SOURCES]
