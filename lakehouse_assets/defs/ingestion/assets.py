"""The raw assets: a multi-asset per source, its specs from what is known of its tables."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from lakehouse.landing.zones import LandingFolder
from lakehouse_assets.defs.ingestion.loading import COUNTED, LoadConfig, asset_key, load, load_files
from lakehouse_assets.defs.ingestion.sources import RawTable, Source, source_named, sources
from lakehouse_assets.resources import LakeResource

LANDING_IO = "landing_io"


def raw_spec(table: RawTable, source: Source) -> dg.AssetSpec:
    """What the web UI shows of a raw table before it is first loaded."""
    columns = [dg.TableColumn(name, type=kind, description=text) for name, kind, text in table.columns]
    origin = origin_key(table)
    lineage = {column: [dg.TableColumnDep(origin, name) for name in names] for column, names in table.fields.items()}
    return dg.AssetSpec(
        asset_key(table),
        deps=[origin],
        description=table.description or source.description or f"Loaded by dlt from {source.name}.",
        group_name=table.source,
        kinds={"dlt", "ducklake"},
        owners=[source.owner],
        metadata={
            "dagster/table_name": f"lakehouse.{table.full_name}",
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/column_lineage": dg.TableColumnLineage(lineage),
            "event_time": table.event_time or "none: a change touches everything downstream",
            **({"problem": source.problem} if source.problem else {}),
        },
        partitions_def=dg.DailyPartitionsDefinition(table.backfill) if table.backfill else None,
        # A dlt source that has nothing new is no new version of its table.
        skippable=False,
    )


def tables_shown(source: Source) -> list[RawTable]:
    """The source's tables; where none is known, one that stands for them: its load names what is wrong or new."""
    told = source.problem or "Its tables show after a load."
    return source.tables or [RawTable(source.name, source.name, told, from_files=source.from_files)]


def source_assets(name: str) -> dg.AssetsDefinition:
    """One source's tables. A pool of one keeps two loads of it from waiting inside their runs."""
    source = source_named(name)
    tables = tables_shown(source)
    options: dict[str, Any] = {
        "name": name,
        "specs": [raw_spec(table, source) for table in tables],
        "pool": f"load_{name}",
        "can_subset": False,
        "description": f"Load what is new in {name}.",
    }
    if source.from_files:

        @dg.multi_asset(**options, ins={"folder": dg.AssetIn(key=landing_key(name), input_manager_key=LANDING_IO)})
        def load_landed(context: dg.AssetExecutionContext, lake: LakeResource, folder: LandingFolder) -> Iterator[Any]:
            yield from load_files(context, lake.lake, folder)

        return load_landed

    checks = [
        dg.AssetCheckSpec(
            COUNTED,
            asset=asset_key(table),
            description="As many rows as the source counts itself. A difference only warns.",
        )
        for table in tables
        if table.is_counted
    ]

    @dg.multi_asset(
        **{**options, "can_subset": True}, check_specs=checks, backfill_policy=dg.BackfillPolicy.single_run()
    )
    def load_source(context: dg.AssetExecutionContext, lake: LakeResource, config: LoadConfig) -> Iterator[Any]:
        yield from load(context, lake.lake, name, config)

    return load_source


def landing_key(source: str) -> dg.AssetKey:
    """The files of a dataset in the landing zone."""
    return dg.AssetKey(["landing", source])


def origin_key(table: RawTable) -> dg.AssetKey:
    """What a raw table is loaded from: files of a dataset, or whatever its source asks."""
    return landing_key(table.source) if table.from_files else dg.AssetKey(["source", table.name])


def origins() -> dg.AssetsDefinition:
    """What nothing in the graph makes: files arrive, a portal answers."""
    found = {origin_key(table): (table, source) for source in sources() for table in tables_shown(source)}
    return dg.AssetsDefinition(specs=[_origin(key, *pair) for key, pair in sorted(found.items())])


def _origin(key: dg.AssetKey, table: RawTable, source: Source) -> dg.AssetSpec:
    if table.from_files:
        upload = f"`lakehouse upload PATH --dataset {table.source}`"
        text, kind = f"Files of {table.source} as they arrived: {upload}, or a copy.", "file"
    else:
        text, kind = f"What {source.name} reads. {table.description}".strip(), "api"
    described = {name: (kind, description) for name, kind, description in table.columns}
    fields = [
        dg.TableColumn(name, described[column][0], description=described[column][1])
        for column, names in table.fields.items()
        for name in names
    ]
    schema = {} if table.from_files else {"dagster/column_schema": dg.TableSchema(fields)}  # each file has its own
    return dg.AssetSpec(key, description=text, group_name=table.source, kinds={kind}, metadata=schema)


origin_assets = origins()
raw_assets = [source_assets(source.name) for source in sources() if source.tables or not source.from_files]
