"""`lakehouse status`: services, the lake, marks, last loads, row counts, as one page."""

from __future__ import annotations

import socket
from contextlib import closing

import psycopg
from rich.console import Group, RenderableType
from rich.table import Table

from lakehouse.lake import METADATA_SCHEMA, Lake
from lakehouse.postgres import connect
from lakehouse.writing import marks


def render_status(lake: Lake) -> RenderableType:
    """Raises LakeError or PostgresError when there is nothing to look at."""
    with closing(connect(lake.settings)) as postgres, closing(lake.connect(read_only=True)) as reader:
        rows = reader.execute(
            """
            SELECT table_schema, table_name, table_type
            FROM information_schema.tables
            WHERE table_catalog = 'lakehouse' AND table_schema IN ('raw', 'staging', 'marts')
              AND NOT starts_with(table_name, '_dlt_')
            ORDER BY CASE table_schema WHEN 'raw' THEN 1 WHEN 'staging' THEN 2 ELSE 3 END, table_name
            """
        ).fetchall()
        counts = Table("table", "kind", "rows", title="Tables", title_justify="left", title_style="bold")
        counts.columns[2].justify = "right"
        for schema, name, kind in rows:
            count = reader.execute(f'SELECT count(*) FROM "{schema}"."{name}"').fetchone()
            counts.add_row(f"{schema}.{name}", "view" if kind == "VIEW" else "table", f"{count[0] if count else 0:,}")
        return Group(_services(lake, postgres), "", _marks(postgres), "", _loads(postgres), "", counts)


def _services(lake: Lake, postgres: psycopg.Connection) -> Table:
    settings = lake.settings
    table = Table(title="Services", title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # a path is worth nothing when cut
    embedded = not settings.postgres_url.get_secret_value()
    table.add_row(
        "PostgreSQL", f"{'embedded' if embedded else 'external'}, version {postgres.info.server_version // 10000}"
    )
    with closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        answers = probe.connect_ex((settings.webserver_host, settings.webserver_port)) == 0
    address = f"http://{settings.webserver_host}:{settings.webserver_port}"
    table.add_row("Dagster web UI", address if answers else "not running; `make up` starts it")
    snapshot = postgres.execute(
        f"SELECT max(snapshot_id), max(snapshot_time) FROM {METADATA_SCHEMA}.ducklake_snapshot"
    ).fetchone()
    table.add_row("Lake", f"{settings.lake_dir}, snapshot {snapshot[0] if snapshot else '?'}")
    table.add_row("Environment", settings.environment)
    return table


def _marks(postgres: psycopg.Connection) -> RenderableType:
    unfinished = marks.read(postgres)
    if not unfinished:
        return "[green]Nothing is unfinished.[/green]"
    table = Table(
        "work", title="Unfinished (the next load or run repairs it)", title_justify="left", title_style="bold yellow"
    )
    for mark in unfinished:
        table.add_row(str(mark))
    return table


def _loads(postgres: psycopg.Connection) -> RenderableType:
    rows = postgres.execute(
        """
        SELECT DISTINCT ON (table_name) table_name, rows_inserted, rows_deleted, recorded_at AT TIME ZONE 'UTC'
        FROM ledger.touched ORDER BY table_name, id DESC
        """
    ).fetchall()
    if not rows:
        return "Nothing has been loaded yet: `make demo` shows how."
    table = Table(
        "table", "rows in", "rows out", "at (UTC)", title="Last loads that changed something", title_justify="left"
    )
    table.title_style = "bold"
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, inserted, deleted, at in rows:
        table.add_row(f"{name}", f"{inserted:,}", f"{deleted:,}", f"{at:%Y-%m-%d %H:%M:%S}")
    return table
