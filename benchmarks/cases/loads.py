"""Each source's load beside bare DuckDB on the same files."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, timed
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

BARE = {
    "nyc_taxi": "read_csv('{}/taxi/yellow_tripdata_sample_*.csv', strict_mode = false, filename = true)",
    "ecommerce": "read_parquet('{}/ecommerce/ecommerce_events_*.parquet', filename = true)",
    "wfp_food_prices": "read_csv('{}/humanitarian/wfp_food_prices_global_*.csv', filename = true)",
    "nyc_collisions": "read_parquet('{}/collisions/collisions_soda_strings.parquet')",
}


def measure(options: Options) -> Section:
    """A new lakehouse for each turn, since a second load finds nothing new."""
    ours = {source: Measured(f"{source}, our load") for source in BARE}
    peers = {
        source: Measured(
            f"{source}, bare DuckDB",
            f"CREATE TABLE … AS FROM {files.format('../shared/data')} LIMIT 0; INSERT INTO … FROM (the same)",
        )
        for source, files in BARE.items()
    }
    rows: dict[str, int] = {}
    for _ in range(min(options.runs, 2)):
        with throwaway() as lakehouse, portal_of(options.data) as variables:
            answer = lakehouse.call("benchmarks.cases.loads:inside", variables, data=str(options.data))
        for source, (own, peer, count) in answer.items():
            ours[source].samples += Measured.of(own).samples
            peers[source].samples += Measured.of(peer).samples
            rows[source] = count
    section = Section()
    for source in BARE:
        section.say(f"**{source}**, {rows[source]:,} rows")
        section.comparison([ours[source], peers[source]], peer=peers[source])
    return section


@contextmanager
def portal_of(data: Path) -> Iterator[dict[str, str]]:
    """A local portal with the real collisions, in this process; the setting that names it."""
    from lakehouse.demo.portal import serve

    with serve(data / "collisions" / "collisions_soda_strings.parquet") as portal:
        yield {"SOURCES__NYC_COLLISIONS__BASE_URL": portal.base_url}


def inside(data: str) -> dict[str, tuple[dict[str, Any], dict[str, Any], int]]:
    """In a child: load everything once, our way and bare, both into the same lake."""
    from lakehouse.lake.ducklake import Lake
    from lakehouse.settings import load_settings

    importlib.import_module("lakehouse_assets.definitions")
    importlib.import_module("dlt")
    lake = Lake(load_settings())
    land(lake, Path(data))
    found = {}
    for source, files in BARE.items():
        ours = Measured(source, samples=[timed(partial(load_source, source))])
        peer = Measured(source, samples=[timed(partial(_load_bare, lake, source, files.format(data)))])
        with closing(lake.connect(read_only=True)) as connection:
            counted = connection.execute(f"SELECT count(*) FROM raw.bare_{source}").fetchone()
        found[source] = (ours.plain(), peer.plain(), counted[0] if counted else 0)
    return found


def land(lake: Any, data: Path) -> None:
    """Create the raw tables and put the real files into the landing zone, as the demo does."""
    from lakehouse_assets.cli.demo import _land
    from lakehouse_assets.defs.environments.deploying import bootstrap

    bootstrap(lake)
    _land(lake, data)


def load_source(source: str) -> None:
    """A run of the source's asset: locks, marks, dlt, what it touched, the check against the portal."""
    import dagster as dg

    from lakehouse_assets.definitions import defs
    from lakehouse_assets.defs.ingestion.assets import source_assets

    with dg.DagsterInstance.ephemeral() as instance:
        keys = list(source_assets(source).keys)
        defs.resolve_job_def("ingest").execute_in_process(instance=instance, asset_selection=keys)


def _load_bare(lake: Any, source: str, files: str) -> None:
    with closing(lake.connect()) as connection:
        connection.execute(f"CREATE TABLE raw.bare_{source} AS FROM {files} LIMIT 0")
        connection.execute(f"INSERT INTO raw.bare_{source} FROM {files}")


CASE = Case(
    "load",
    "Loads beside bare DuckDB",
    "A load inside a Dagster run, in process, imports left out: locks and marks, dlt, touched ranges, counts; beside "
    "DuckDB that writes the same files into the same lake and keeps no account of anything. The collisions come as "
    "JSON pages from a local portal in another process, the bare peer reads them from a file.",
    measure,
)
