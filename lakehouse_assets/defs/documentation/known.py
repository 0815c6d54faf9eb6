"""All that there is to say of a release and what it is made of, as plain data: one Table per raw table and model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from lakehouse.lake.ducklake import Lake, identifier
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.releases.log import ReleaseError
from lakehouse.releases.manifest import Manifest as Published
from lakehouse.releases.manifest import PublishedTable, read_manifest
from lakehouse.releases.reading import connect_release
from lakehouse_assets.defs.documentation.lineage import Lineage
from lakehouse_assets.defs.ingestion.assets import tables_shown
from lakehouse_assets.defs.ingestion.sources import RawTable, Source, sources
from lakehouse_assets.models import PROJECT_DIR, PUBLISHED, Translator, project
from lakehouse_assets.sqlmesh_integration.manifest import Manifest, ModelSpec

SAMPLED = 5
POINTS = 60
RAW = "raw table"
ROW_COUNT = "dagster/row_count"
UNIT = re.compile(r"(.*)\[([^\[\]]{1,20})\]", re.DOTALL)
RESULTS = {"SUCCEEDED": "passed", "FAILED": "failed"}


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    meaning: str
    is_key: bool = False
    is_hidden: bool = False
    unit: str = ""

    @classmethod
    def of(cls, name: str, kind: str, told: str, *, is_key: bool = False) -> Column:
        """Of a description that may end with its unit in brackets: `Rent of a month [EUR/m²]`."""
        found = UNIT.fullmatch(told.strip())
        meaning, unit = (found[1].rstrip(), found[2]) if found else (told, "")
        return cls(name, kind, meaning, is_key, unit=unit)


@dataclass(frozen=True)
class Check:
    """`at` is when it said so, UTC; empty where it never ran."""

    name: str
    call: str
    blocking: bool
    result: str
    at: str


@dataclass(frozen=True)
class Table:
    """A raw table or a model, and what readers get of it."""

    name: str  # schema.table
    kind: str
    group: str
    description: str
    owner: str = ""
    grain: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    checks: tuple[Check, ...] = ()
    cron: str = ""
    source: str = ""
    path: str = ""
    written: str = ""
    query: str = ""
    tags: tuple[str, ...] = ()
    updated_at: str = ""
    rows: tuple[tuple[str, int], ...] = ()
    """When, and how many: the oldest first."""
    published: PublishedTable | None = None
    sample: tuple[tuple[str, ...], ...] = ()
    sampled: tuple[str, ...] = ()
    """The columns of the sample."""

    @property
    def is_raw(self) -> bool:
        """Whether a source loads it."""
        return self.kind == RAW


@dataclass(frozen=True)
class Known:
    """What a site is made of. `releases`: the newest first, `release` among them."""

    environment: str
    release: Published | None
    tables: Mapping[str, Table]
    lineage: Lineage
    sources: Sequence[Source] = ()
    releases: Sequence[Published] = ()
    environments: Mapping[str, str] = field(default_factory=dict)
    """What readers of each get, in words."""


def collect(lake: Lake, instance: dg.DagsterInstance, environment: str, number: int | None = None) -> Known:
    """What is known of a release: that of the number, else the one that readers get.

    Of code other than what was deployed there, only what the release itself says is told.

    Raises:
        ReleaseError: there is no such release.
    """
    models = project().manifest()
    with closing(connect(lake.settings)) as connection:
        history = log.history(connection)
        is_deployed = bool(
            connection.execute(
                "SELECT 1 FROM ledger.deployments WHERE environment = %s AND content_key = %s",
                [environment, models.key],
            ).fetchone()
        )
        pointers = {name: log.pointer(connection, name) for name in sorted({one.environment for one in history})}
    kept = [one for one in history if one.environment == environment and one.state == "published"]
    releases = [found for one in kept if (found := read_manifest(lake.storage, one.folder))]
    pointer = pointers.get(environment)
    wanted = number or (pointer.number if pointer else None)
    release = next((one for one in releases if one.number == wanted), None)
    if number and release is None:
        raise ReleaseError(f"There is no release {number} of {environment}: `lakehouse releases` lists all.")
    releases = [one for one in releases if not number or one.number <= number]
    readers = {name: one.hold or f"release {one.number}" for name, one in pointers.items() if one}
    known_sources = sources()
    tables = declared_tables(models, known_sources) if is_deployed else {}
    of_release = Lineage.of_release(release.lineage if release else {})
    lineage = declared_lineage(models, known_sources) if is_deployed else of_release
    tables |= _released(tables, releases, release)
    tables = _with_runs(instance, environment, models, tables) if is_deployed else tables
    if is_deployed and release:
        tables = _with_samples(lake, environment, release, hide(tables, models, lineage))
    for table in tables.values():
        if table.published:
            lineage.add(f"file.{table.name}", {column.name: [(table.name, column.name)] for column in table.columns})
    return Known(environment, release, tables, lineage, known_sources, releases, readers)


def declared_tables(models: Manifest, found: Sequence[Source]) -> dict[str, Table]:
    """The raw tables of these sources and the models, as they are declared."""
    raw = {table.full_name: _raw(source, table) for source in found for table in tables_shown(source)}
    return raw | {model.name: _model(model) for model in models.models}


def _raw(source: Source, table: RawTable) -> Table:
    columns = tuple(Column.of(name, kind, text, is_key=name in table.key) for name, kind, text in table.columns)
    told = table.description or source.description or f"Loaded by dlt from {source.name}."
    return Table(
        table.full_name, RAW, source.name, told, source.owner, tuple(table.key), columns, cron=source.schedule,
        source=source.name,
    )  # fmt: skip


def _model(model: ModelSpec) -> Table:
    grain = tuple(one.strip(' "') for one in model.grains[0].strip("() ").split(",")) if model.grains else ()
    keys = {one.lower() for one in grain}
    columns = (Column.of(c.name, c.type, c.description or "", is_key=c.name.lower() in keys) for c in model.columns)
    path = PROJECT_DIR / model.path if model.path else None
    return Table(
        model.name, model.kind.lower().replace("_", " "), Translator().group_name(model), model.description or "",
        model.owner or "", grain, tuple(columns), _checks(model), model.cron, path=model.path or "",
        written=path.read_text(errors="replace") if path and path.suffix in (".sql", ".py") and path.exists() else "",
        query=model.query, tags=model.tags,
    )  # fmt: skip


def _checks(model: ModelSpec) -> tuple[Check, ...]:
    return tuple(
        Check(one.check_name, f"{one.audit}({one.arguments})", one.blocking, "never ran", "") for one in model.audits
    )


def declared_lineage(models: Manifest, found: Sequence[Source]) -> Lineage:
    """From the sources' fields to the models' columns."""
    lineage = Lineage()
    for source in found:
        for table in tables_shown(source):
            origin = f"source.{source.name}"
            fields = {column: [(origin, name) for name in names] for column, names in table.fields.items()}
            lineage.add(table.full_name, fields, [origin])
    for model in models.models:
        columns = {c.name: [(f"{schema}.{table}", name) for schema, table, name in c.sources] for c in model.columns}
        lineage.add(model.name, columns, [up.name for up in (*model.depends_on, *model.external)])
    return lineage


def _released(
    tables: Mapping[str, Table], releases: Sequence[Published], release: Published | None
) -> dict[str, Table]:
    """The tables of the release, with the rows that it and those before it had of them."""
    found = {}
    for published in release.tables if release else ():
        rows = [(of.cut_at[:19], one.rows) for of in releases if (one := of.find(published.name))]
        known = tables.get(published.name) or Table(
            published.name, "table", published.name.split(".")[0], published.description, published.owner,
            published.grain, tuple(Column.of(*c, is_key=c[0] in published.grain) for c in published.columns),
            tuple(Check(c["name"], c["audit"], c["blocking"], c["result"], c["at"]) for c in published.checks),
            published.cron,
        )  # fmt: skip
        history = tuple(reversed(rows[:POINTS]))
        grain = published.grain or known.grain
        found[published.name] = replace(
            known, published=published, rows=history, grain=grain, updated_at=published.as_of
        )
    return found


def _with_runs(
    instance: dg.DagsterInstance, environment: str, models: Manifest, tables: Mapping[str, Table]
) -> dict[str, Table]:
    """With what Dagster keeps of their runs: when they were last written, how many rows then, what checks said."""
    keys = {name: _key(name, models, environment) for name in tables}
    known = {record.asset_entry.asset_key: record for record in instance.get_asset_records(list(keys.values()))}
    checks = {
        dg.AssetCheckKey(keys[name], one.name): (name, one) for name, table in tables.items() for one in table.checks
    }
    said = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks)) if checks else {}
    found = {}
    for name, table in tables.items():
        results = []
        for one in table.checks:
            last_said = said.get(dg.AssetCheckKey(keys[name], one.name))
            if last_said:
                result = RESULTS.get(last_said.status.value, "not finished")
                one = replace(one, result=result, at=_moment(last_said.create_timestamp))
            results.append(one)
        record = known.get(keys[name])
        last = record.asset_entry.last_materialization_record if record else None
        at = _moment(last.timestamp) if last else table.updated_at
        rows = table.rows or (_counted(instance, keys[name]) if last and _count(last) is not None else ())
        found[name] = replace(table, checks=tuple(results), updated_at=at, rows=rows)
    return found


def _key(name: str, models: Manifest, environment: str) -> dg.AssetKey:
    model = models.by_name.get(name)
    return Translator().asset_key(model.ref, environment) if model else dg.AssetKey(name.split("."))


def _counted(instance: dg.DagsterInstance, key: dg.AssetKey) -> tuple[tuple[str, int], ...]:
    """Rows of the whole table after its last runs."""
    records = instance.fetch_materializations(key, limit=POINTS).records
    found = [(_moment(one.timestamp), count) for one in records if (count := _count(one)) is not None]
    return tuple(reversed(found))


def _count(record: dg.EventLogRecord) -> int | None:
    """How many rows the whole table had then; None where that was of a partition, or is not known."""
    event = record.asset_materialization
    value = event.metadata.get(ROW_COUNT) if event and not event.partition else None
    return value.value if value is not None and isinstance(value.value, int) else None


def _moment(seconds: float | datetime) -> str:
    moment = seconds if isinstance(seconds, datetime) else datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def hide(tables: Mapping[str, Table], models: Manifest, lineage: Lineage) -> dict[str, Table]:
    """With the columns marked that nothing shows: by a tag here or upstream, or computed from such a one."""
    tagged = {(model.name, column) for model in models.models for column in model.hidden}
    found = {}
    for name, table in tables.items():
        columns = []
        for one in table.columns:
            places = {(name, one.name), *lineage.upstream({(name, one.name)})}
            columns.append(replace(one, is_hidden=any((of, column.lower()) in tagged for of, column in places)))
        found[name] = replace(table, columns=tuple(columns))
    return found


def _with_samples(lake: Lake, environment: str, release: Published, tables: Mapping[str, Table]) -> dict[str, Table]:
    """With a few rows of what readers get anyway. Nothing of raw tables and models: those are not released."""
    connection, _ = connect_release(lake.settings, environment, release.number)
    found = dict(tables)
    with closing(connection):
        for name, table in tables.items():
            hidden = {column.name.lower() for column in table.columns if column.is_hidden}
            if not table.published or PUBLISHED not in table.tags:
                continue
            shown = tuple(column for column, *_ in table.published.columns if column.lower() not in hidden)
            if shown:
                where = ".".join(map(identifier, name.split(".", 1)))
                rows = connection.execute(
                    f"SELECT {', '.join(map(identifier, shown))} FROM {where} LIMIT {SAMPLED}"
                ).fetchall()
                found[name] = replace(table, sampled=shown, sample=tuple(tuple(map(_value, row)) for row in rows))
    return found


def _value(value: Any) -> str:
    text = "—" if value is None else " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
