"""The raw assets: a multi-asset per dlt source, its specs from the manifest."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from lakehouse.zones import LandingFolder
from lakehouse_assets.loading import RECONCILED, asset_key, load
from lakehouse_assets.resources import LakeResource
from lakehouse_assets.sources import SOURCES, RawTable, tables_of

LANDING_IO = "landing_io"
PORTALS = {"nyc_collisions": "NYC Open Data"}


def raw_spec(table: RawTable) -> dg.AssetSpec:
    """What the web UI shows of a raw table before it is first loaded."""
    columns = [dg.TableColumn(name, type=kind, description=text) for name, kind, text in table.columns]
    origin = origin_key(table)
    lineage = {column: [dg.TableColumnDep(origin, name) for name in names] for column, names in table.fields.items()}
    return dg.AssetSpec(
        asset_key(table),
        deps=[origin],
        description=table.description,
        group_name=table.source,
        kinds={"dlt", "ducklake"},
        owners=["team:ingestion"],
        metadata={
            "dagster/table_name": f"lakehouse.{table.full_name}",
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/column_lineage": dg.TableColumnLineage(lineage),
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

    options: dict[str, Any] = {
        "name": source,
        "specs": [raw_spec(table) for table in tables],
        "check_specs": checks,
        "pool": f"load_{source}",
        "can_subset": False,
        "description": f"Load what is new in {source}.",
    }
    if not all(table.from_files for table in tables):

        @dg.multi_asset(**options)
        def load_portal(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
            yield from load(context, _dlt(), lake.lake, source)

        return load_portal

    @dg.multi_asset(**options, ins={"folder": dg.AssetIn(key=landing_key(source), input_manager_key=LANDING_IO)})
    def load_files(context: dg.AssetExecutionContext, lake: LakeResource, folder: LandingFolder) -> Iterator[Any]:
        yield from load(context, _dlt(), lake.lake, source, folder)

    return load_files


def _dlt() -> Any:
    # Imported here: it brings dlt, which a process that only looks at the graph does without.
    from dagster_dlt import DagsterDltResource

    return DagsterDltResource()


def landing_key(source: str) -> dg.AssetKey:
    """The files of a dataset in the landing zone."""
    return dg.AssetKey(["landing", source])


def origin_key(table: RawTable) -> dg.AssetKey:
    """What a raw table is loaded from: files of a dataset, or a portal's dataset."""
    return landing_key(table.source) if table.from_files else dg.AssetKey(["portal", table.name])


def origins() -> dg.AssetsDefinition:
    """What nothing in the graph makes: files arrive, a portal answers."""
    found = {origin_key(table): table for source in SOURCES for table in tables_of(source)}
    return dg.AssetsDefinition(specs=[_origin(key, table) for key, table in sorted(found.items())])


def _origin(key: dg.AssetKey, table: RawTable) -> dg.AssetSpec:
    if table.from_files:
        upload = f"`lakehouse upload PATH --dataset {table.source}`"
        text, kind = f"Files of {table.source} as they arrived: {upload}, or a copy.", "file"
    else:
        text, kind = f"The dataset as {PORTALS[table.source]} serves it. {table.description}", "api"
    described = {name: description for name, _, description in table.columns}
    fields = [
        dg.TableColumn(name, "text", described[column]) for column, names in table.fields.items() for name in names
    ]
    schema = {} if table.from_files else {"dagster/column_schema": dg.TableSchema(fields)}  # each file has its own
    return dg.AssetSpec(key, description=text, group_name=table.source, kinds={kind}, metadata=schema)


origin_assets = origins()
raw_assets = [source_assets(source) for source in SOURCES if tables_of(source)]
