"""A gigabyte through the zones: landed, loaded, modelled, released, on a folder and on S3, beside bare DuckDB."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Sample, timed
from benchmarks.section import Section
from benchmarks.throwaway import Throwaway, throwaway
from tests import object_store

ROWS, FILES = 60_000_000, 8
THIS = "benchmarks.cases.zones"
STEPS = ("land", "load", "model", "release")


def measure(options: Options) -> Section:
    """Once on each storage: a gigabyte takes minutes."""
    rows = options.scaled(ROWS, least=80_000)
    section = Section()
    with object_store.serve() as store:
        for name in ("folder", "S3"):
            extra = store.environment(store.new_bucket()) if name == "S3" else {}
            with throwaway(extra=extra) as lakehouse:
                ours, bare, size = _through(lakehouse, rows)
            section.say(f"**{name}**: {rows:,} events in {FILES} Parquet files of together {size / 1e6:,.0f} MB.")
            section.table(
                ["step", "ours, seconds", "CPU seconds", "bare DuckDB, seconds", "ratio"],
                [
                    [step, f"{ours[step].seconds:.1f}", f"{ours[step].cpu_seconds:.1f}", f"{bare[step]:.1f}",
                     f"{ours[step].seconds / bare[step]:.1f}"]
                    for step in STEPS
                ],
            )  # fmt: skip
    section.say(
        "Ours are whole commands: `lakehouse upload`, `dagster job execute -j ingest` of this one source, `catch_up` "
        "of all models, `publish_release`; each starts Python and Dagster anew. Bare DuckDB copies the files, inserts "
        "them into a DuckLake table of a catalog of its own, computes the same sums, and copies them out."
    )
    return section


def _through(lakehouse: Throwaway, rows: int) -> tuple[dict[str, Sample], dict[str, float], int]:
    folder = lakehouse.root / "events"
    folder.mkdir()
    lakehouse.call(f"{THIS}:make_files", folder=str(folder), rows=rows)
    size = sum(path.stat().st_size for path in folder.iterdir())
    lakehouse.command("lakehouse", "bootstrap")
    lakehouse.command("lakehouse", "deploy", "prod", "--yes", "--no-backfill")
    module = ("-m", "lakehouse_assets.definitions")
    ours = {
        "land": lakehouse.command("lakehouse", "upload", str(folder), "--dataset", "ecommerce"),
        "load": lakehouse.command("dagster", "asset", "materialize", *module, "--select", "raw/ecommerce__events"),
        "model": lakehouse.command("dagster", "job", "execute", *module, "-j", "catch_up"),
        "release": lakehouse.command("dagster", "job", "execute", *module, "-j", "publish_release"),
    }
    return ours, lakehouse.call(f"{THIS}:bare", folder=str(folder), rows=rows), size


def make_files(folder: str, rows: int) -> None:
    """In a child: events with noise in them, in time order."""
    import duckdb

    each = rows // FILES
    for number in range(FILES):
        duckdb.sql(
            f"""
            COPY (
                SELECT i::BIGINT AS event_id, (random() * 50000)::BIGINT AS user_id,
                    CASE WHEN i % 20 = 0 THEN 'refund' ELSE 'purchase' END AS event_type,
                    TIMESTAMP '2023-01-01' + INTERVAL (i * 31536000 // {rows}) SECOND AS event_timestamp,
                    (random() * 100)::DECIMAL(12, 2) AS revenue, 'i' || (random() * 1000000)::INT AS invoice,
                    's' || (i % 5000) AS sku, 'United Kingdom' AS country
                FROM range({number * each}, {(number + 1) * each}) t(i)
            ) TO '{folder}/shop_events_{number}.parquet' (FORMAT parquet, COMPRESSION zstd)
            """
        )


def bare(folder: str, rows: int) -> dict[str, float]:
    """In a child: the same with DuckDB alone, in this storage, under `bare/`."""
    from lakehouse.lake.ducklake import Lake, create_secret
    from lakehouse.settings import load_settings

    lake = Lake(load_settings())
    seconds: dict[str, float] = {}

    def step(name: str, work: Any) -> None:
        seconds[name] = timed(work).seconds

    def land() -> None:
        for path in sorted(Path(folder).iterdir()):
            lake.storage.upload(path, f"bare/landing/{path.name}")

    step("land", land)
    files = ", ".join(f"'{lake.storage.uri_of(found.key)}'" for found in lake.storage.list("bare/landing/"))
    import duckdb

    with closing(duckdb.connect(config=lake.duckdb_config())) as connection:
        for secret in lake.duckdb_secrets():
            connection.execute(create_secret(secret))
        catalog = f"{lake.settings.data_dir}/bare.ducklake"
        connection.execute(f"ATTACH 'ducklake:{catalog}' AS bare (DATA_PATH '{lake.storage.uri_of('bare/lake')}/')")
        step("load", lambda: connection.execute(f"CREATE TABLE bare.events AS FROM read_parquet([{files}])"))
        step("model", lambda: connection.execute(DAILY))
        target = lake.storage.uri_of("bare/published.parquet")
        step("release", lambda: connection.execute(f"COPY (FROM bare.daily) TO '{target}' (FORMAT parquet)"))
        count = connection.execute("SELECT sum(purchases + refunds) FROM bare.daily").fetchone()
    assert count is not None and count[0] == rows // FILES * FILES
    with closing(lake.connect(read_only=True)) as connection:
        ours = connection.execute("SELECT sum(purchases + refunds) FROM marts.daily_revenue").fetchone()
    assert ours == count, (ours, count)
    return seconds


DAILY = """
    CREATE TABLE bare.daily AS
    SELECT event_timestamp::DATE AS event_date, count(DISTINCT user_id) AS unique_users,
        count(*) FILTER (event_type = 'purchase') AS purchases, count(*) FILTER (event_type = 'refund') AS refunds,
        sum(revenue) AS net_revenue
    FROM bare.events GROUP BY 1
"""
CASE = Case(
    "zones",
    "A gigabyte through the zones",
    "Files landed, loaded into raw, modelled and released, on a folder and on an S3 server (SeaweedFS on the same "
    "machine), each step beside DuckDB alone doing the same in the same storage.",
    measure,
)
