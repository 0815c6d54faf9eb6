"""`lakehouse demo`: from source to answer. Each step says what it does and how long it took."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
from rich.console import Console
from rich.table import Table

from lakehouse.cli.console import folding_table
from lakehouse.demo.feed import COLLISIONS, FILES, LIVE, SAMPLE, SINCE, Feed, note_feed, noted_feed
from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import Lake, identifier
from lakehouse.landing.zones import LANDING as LANDING_ZONE
from lakehouse_assets.defs.environments import deploying
from lakehouse_assets.defs.environments.deploy_job import report_tests
from lakehouse_assets.defs.job_progress import JobFailedError, run_job
from lakehouse_assets.defs.releases.cutting import PUBLISH_JOB

LANDING = {
    "nyc_taxi": "taxi/yellow_tripdata_sample_*.csv",
    "nyc_taxi_zones": "taxi/taxi_zone_lookup.csv",
    "ecommerce": "ecommerce/ecommerce_events_*.parquet",
    "wfp_food_prices": "humanitarian/wfp_food_prices_global_*.csv",
}
MAY_BE_MISSING = {"nyc_taxi_zones"}
"""Without it the zones are called by their numbers."""
LIVE_DAYS = 30


class DemoError(LakehouseError):
    """The demo can't start or what it found is wrong; the message says what to do."""


def run_demo(lake: Lake, console: Console, *, data: Path | None, live: bool) -> None:
    """Raises DemoError, or what the steps raise."""
    feed = LIVE if live else f"{FILES}{data.resolve()}" if data else SAMPLE
    timings: list[tuple[str, float]] = []

    @contextmanager
    def step(title: str) -> Iterator[None]:
        started = time.perf_counter()
        _begin(console, title)
        with console.status(f"{title} …"):
            yield
        timings.append((title, time.perf_counter() - started))
        console.print(f"[green]✓[/green] {title} [dim]{timings[-1][1]:.1f} s[/dim]", highlight=False)

    with step("PostgreSQL, the lake and its raw tables"):
        _check_feed(lake, feed)
        deploying.bootstrap(lake)
    with step("Files into the landing zone"):
        source = data or _sample(lake)
        _land(lake, source)
        if not (source / COLLISIONS).exists():
            raise DemoError(f"{source / COLLISIONS} is missing: the local portal answers from it.")
        note_feed(lake.settings, _feed(lake, feed))
    with step("Models deployed to prod, no interval computed"):
        if not deploying.is_deployed(lake, "prod"):
            done = deploying.deploy(lake, "prod", backfill=False, run="demo", report=console.print)
            with dg.DagsterInstance.from_config(str(lake.settings.dagster_home)) as instance:
                report_tests(instance, done.tests)
    for job, title in (
        ("ingest", "Sources loaded into raw"),
        ("catch_up", "Models computed and audited"),
        (PUBLISH_JOB, "Release published"),
    ):
        started = time.perf_counter()
        _begin(console, title)
        try:
            run_job(lake.settings, job, console, {})
        except JobFailedError as error:
            raise DemoError(str(error)) from error
        timings.append((title, time.perf_counter() - started))
        console.print(f"[green]✓[/green] {title} [dim]{timings[-1][1]:.1f} s[/dim]", highlight=False)
    _answer(lake, console)
    _closing(console, timings)


def _begin(console: Console, title: str) -> None:
    """A terminal shows what is at work by itself; a log would be silent until it is done."""
    if not console.is_terminal:
        console.print(f"[dim]{title}:[/dim]", highlight=False)


def _check_feed(lake: Lake, feed: str) -> None:
    """A lake holds one feed: made-up and real rows in one table would be wrong in every total."""
    known = noted_feed(lake.settings)
    if known and known.feed != feed:
        raise DemoError(
            f"The lake in {lake.settings.data_dir} holds the feed '{known.feed}', you ask for '{feed}'. "
            "`make reset` empties it; or set LAKEHOUSE_DATA_DIR to another folder."
        )


def _sample(lake: Lake) -> Path:
    from lakehouse.demo.sample import write_sample

    folder = lake.settings.data_dir / "sample"
    if not (folder / "complete").exists() or not all(any(folder.glob(pattern)) for pattern in LANDING.values()):
        write_sample(folder)
        (folder / "complete").touch()
    return folder


def _land(lake: Lake, source: Path) -> None:
    """Copy the feed's files into the landing zone; those that are there already stay untouched."""
    for dataset, pattern in LANDING.items():
        files = sorted(source.glob(pattern))
        if not files and dataset not in MAY_BE_MISSING:
            raise DemoError(
                f"No file matches {source / pattern}: DATA must name the folder that holds taxi/, ecommerce/, …"
            )
        for file in files:
            key = f"{LANDING_ZONE}/{dataset}/{file.name}"
            there = lake.storage.find(key)
            if there is None or there.size_bytes != file.stat().st_size:
                lake.storage.upload(file, key)


def _feed(lake: Lake, feed: str) -> Feed:
    """What later loads go on with: of the real portal, the days since the one that was asked for first."""
    known = noted_feed(lake.settings)
    if feed != LIVE or (known and known.since):
        return known or Feed(feed)
    return Feed(feed, os.environ.get(SINCE) or f"{datetime.now(UTC) - timedelta(days=LIVE_DAYS):%Y-%m-%d}")


def _answer(lake: Lake, console: Console) -> None:
    """Show the answers, and how many rows each mart has."""
    from lakehouse.demo.answers import answer_tables

    with closing(lake.connect(read_only=True)) as connection:
        for table in answer_tables(connection):
            console.print()
            console.print(table)
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'marts' ORDER BY ALL"
        ).fetchall()
        rows = {f"marts.{name}": _count(connection, f"marts.{identifier(name)}") for (name,) in names}
    console.print()
    marts = folding_table("mart", "rows", title="Every mart", right=("rows",))
    for mart, count in rows.items():
        marts.add_row(mart, f"{count:,}")
    console.print(marts)
    empty = [mart for mart, count in rows.items() if not count]
    if empty:
        raise DemoError(
            f"{', '.join(empty)}: no rows. `lakehouse status` shows what was loaded and computed; "
            "`make up` shows why, on the mart's page."
        )


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def _closing(console: Console, timings: list[tuple[str, float]]) -> None:
    table = Table(title="How long it took", title_justify="left", title_style="bold", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for title, seconds in timings:
        table.add_row(title, f"{seconds:.1f} s")
    table.add_row("[bold]together[/bold]", f"[bold]{sum(seconds for _, seconds in timings):.1f} s[/bold]")
    console.print()
    console.print(table)
    console.print("\n[bold]What next[/bold]")
    for command, meaning in (
        ("make up", "the Dagster web UI: the graph, runs, checks; Ctrl-C ends it"),
        ('.venv/bin/lakehouse query "FROM marts.top_pickup_locations"', "ask the lake"),
        (".venv/bin/lakehouse status", "what runs, what was loaded, how many rows"),
        ("make test", "the tests; make prove: those that take hours"),
    ):
        console.print(f"  [cyan]{command}[/cyan]  {meaning}", highlight=False)
