"""`lakehouse status`: services, the lake, marks, last loads, row counts, as one page."""

from __future__ import annotations

import socket
from contextlib import closing

import psycopg
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from lakehouse.cli.console import folding_table
from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.lake.postgres import connect
from lakehouse.landing import landed
from lakehouse.releases import held as held_back
from lakehouse.releases import log
from lakehouse.settings import Settings, reachable
from lakehouse.upkeep.doctor.checks import all_checks, examine
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.writing import marks
from lakehouse.writing.locks import held, pipeline_lock


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
        counts = folding_table("table", "kind", "rows", title="Tables", right=("rows",))
        for schema, name, kind in rows:
            count = reader.execute(f'SELECT count(*) FROM "{schema}"."{name}"').fetchone()
            counts.add_row(f"{schema}.{name}", "view" if kind == "VIEW" else "table", f"{count[0] if count else 0:,}")
        sections = [
            _services(lake, postgres), _marks(postgres), _releases(postgres), *_held(postgres), _loads(postgres),
            *_lacking(postgres), *_declarations(lake.settings, postgres), counts,
        ]  # fmt: skip
        return Group(*(part for section in sections for part in (section, "")))


def _services(lake: Lake, postgres: psycopg.Connection) -> Table:
    settings = lake.settings
    table = Table(title="Services", title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # a path is worth nothing when cut
    embedded = not settings.postgres_url.get_secret_value()
    table.add_row(
        "PostgreSQL", f"{'embedded' if embedded else 'external'}, version {postgres.info.server_version // 10000}"
    )
    for name, host, port in (
        ("Dagster web UI", settings.webserver_host, settings.webserver_port),
        ("Query service", settings.query_host, settings.query_port),
        ("Dashboard", settings.query_host, settings.dashboard_port),
    ):
        with closing(socket.socket()) as probe:
            probe.settimeout(0.5)
            answers = probe.connect_ex((host, port)) == 0
        address = f"http://{reachable(host)}:{port}"
        table.add_row(name, address if answers else "not running; `make up` starts it")
    snapshot = postgres.execute(
        f"SELECT max(snapshot_id), max(snapshot_time) FROM {METADATA_SCHEMA}.ducklake_snapshot"
    ).fetchone()
    table.add_row("Lake", f"{settings.lake_uri}, snapshot {snapshot[0] if snapshot else '?'}")
    table.add_row("Environment", settings.environment)
    return table


def _marks(postgres: psycopg.Connection) -> RenderableType:
    unfinished = marks.read(postgres)
    if not unfinished:
        return "[green]Nothing is unfinished.[/green]"
    at_work = {one.lock for one in held(postgres, [pipeline_lock(mark.scope) for mark in unfinished])}
    table = folding_table("work", "", title="[yellow]Unfinished (the next load or run repairs it)[/yellow]")
    for mark in unfinished:
        cut_off = mark.kind == "load" and str(pipeline_lock(mark.scope)) not in at_work
        table.add_row(str(mark), f"`lakehouse load abandon {mark.scope}` undoes it" if cut_off else "")
    return table


def _releases(postgres: psycopg.Connection) -> RenderableType:
    """What readers of each environment get, and what waits."""
    there = postgres.execute("SELECT to_regclass('ledger.releases') IS NOT NULL").fetchone()
    found = log.history(postgres) if there and there[0] else []
    if not found:
        return "Nothing has been released yet."
    table = folding_table("environment", "readers get", "cut (UTC)", "code", "by", title="Releases")
    for environment in sorted({release.environment for release in found}):
        pointer = log.pointer(postgres, environment)
        waiting = [one.number for one in found if one.environment == environment and one.state == "cut"]
        current = next(
            (one for one in found if pointer and (one.environment, one.number) == (environment, pointer.number)), None
        )
        readers = (pointer.hold or f"release {pointer.number}") if pointer else "nothing yet"
        held = "[yellow]" if pointer and pointer.hold else ""
        shown = f"{held}{readers}" + (f"; {_numbers(waiting)} not published yet" if waiting else "")
        table.add_row(
            environment, shown, f"{current.cut_at:%Y-%m-%d %H:%M:%S}" if current else "",
            current.code_version if current else "", current.author if current else "",
        )  # fmt: skip
    return table


def _held(postgres: psycopg.Connection) -> list[RenderableType]:
    """Groups of tables that stay as they are while the others move."""
    found = held_back.read(postgres)
    if not found:
        return []
    table = folding_table(
        "environment", "since (UTC)", "tables", "why", title="[yellow]Held back from readers[/yellow]"
    )
    for one in found:
        since = one.since[:19].replace("T", " ")
        table.add_row(one.environment, since, escape(", ".join(one.tables)), escape("\n".join(one.reasons)))
    return [table]


def _numbers(releases: list[int]) -> str:
    """The newest, and how many more."""
    return f"{max(releases)}" + (f" and {len(releases) - 1} before it" if len(releases) > 1 else "")


def _loads(postgres: psycopg.Connection) -> RenderableType:
    rows = postgres.execute(
        """
        SELECT DISTINCT ON (table_name) table_name, rows_inserted, rows_deleted, recorded_at AT TIME ZONE 'UTC'
        FROM ledger.touched ORDER BY table_name, id DESC
        """
    ).fetchall()
    if not rows:
        return "Nothing has been loaded yet: `make demo` shows how."
    table = folding_table(
        "table", "rows in", "rows out", "at (UTC)",
        title="Last loads that changed something", right=("rows in", "rows out"),
    )  # fmt: skip
    for name, inserted, deleted, at in rows:
        table.add_row(f"{name}", f"{inserted:,}", f"{deleted:,}", f"{at:%Y-%m-%d %H:%M:%S}")
    return table


def _lacking(postgres: psycopg.Connection) -> list[RenderableType]:
    """Declared columns that whole files don't have."""
    found = landed.lacking(postgres)
    if not found:
        return []
    table = folding_table("dataset", "", title="[yellow]Files that lack a declared column[/yellow]")
    for one in found:
        table.add_row(one.dataset, escape(str(one)))
    return [table]


def _declarations(settings: Settings, postgres: psycopg.Connection) -> list[RenderableType]:
    """Declarations that can't be used, or that the lake's tables contradict: what `lakehouse doctor` finds of them."""
    checks = [check for check in all_checks() if check.name == "declarations"]
    findings = [one for result in examine(Examination.joining(settings, postgres), checks) for one in result.findings]
    if not findings:
        return []
    table = folding_table("declaration", "", title="[yellow]Declarations of sources to look at[/yellow]")
    for one in findings:
        table.add_row(escape(one.where), escape(one.what))
    return [table]
