"""`lakehouse share` and `lakehouse shares`: tokens that see some tables, rows and columns, and how they were used."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from lakehouse.cli.console import Commands, err, fail, folding_table, out
from lakehouse.query.engine import tokens
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.sights import Sight, check_sights
from lakehouse.query.engine.tokens import TOKEN_NAME, Grant
from lakehouse.query.engine.usage import UsageLog
from lakehouse.releases.manifest import Manifest
from lakehouse.releases.reading import find_release, manifest_of
from lakehouse.settings import load_settings
from lakehouse.storage import open_storage
from lakehouse.wording import plural

OF_TABLE = re.compile(r"\s*([A-Za-z_]\w*\.[A-Za-z_]\w*)\s*:(?!:)\s*(.+)", re.DOTALL)

app = Commands()


@app.command()
def share(
    tables: Annotated[list[str], typer.Argument(help="Released tables, such as marts.daily_revenue.")],
    to: Annotated[str, typer.Option("--to", help="Whose it is, such as ngo-partner.")],
    until: Annotated[str, typer.Option("--until", help="Its last day, UTC: 2027-01-31.")],
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these rows, as SQL: \"country = 'SO'\"; of one table: \"marts.prices: country = 'SO'\"."
        ),
    ] = None,
    hide: Annotated[
        list[str] | None, typer.Option(help="Without this column: price, or of one table marts.prices.price.")
    ] = None,
    environment: Annotated[str, typer.Option("--environment", "-e", help="Default: LAKEHOUSE_ENVIRONMENT.")] = "",
    rows: Annotated[int | None, typer.Option(help="The most rows of an answer.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="How long a statement may run.", min=0.1)] = None,
    at_once: Annotated[int | None, typer.Option(help="How many calls at once.", min=1)] = None,
) -> None:
    """Make a token that sees these tables and nothing else, however it asks, and print it, this once.

    `lakehouse shares` lists what is shared and how it was used, `lakehouse token revoke NAME` ends it.
    """
    settings = load_settings()
    if not TOKEN_NAME.fullmatch(to):
        fail(f"{to!r} can't name a token: letters, digits and . _ @ - are wanted, 64 at most.", 2)
    storage = open_storage(settings)
    manifest = manifest_of(storage, find_release(storage, environment or settings.environment))
    sights = _sights(manifest, tables, where or [], hide or [])
    try:
        check_sights(manifest, sights)
    except QueryError as error:
        fail(error.detail, 2)
    token = tokens.create(
        storage, to, [manifest.environment], by=getpass.getuser(), lasts=_until(until) - datetime.now(UTC),
        rows=rows, seconds=seconds, at_once=at_once, sees=sights,
    )  # fmt: skip
    err.print(
        f"The token of {to}, for {_shown(sights)} of {manifest.environment} until {until}. It is not kept and can't be "
        "shown again:",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip
    typer.echo(token)


def _until(text: str) -> datetime:
    """The end of that day."""
    try:
        end = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        fail(f"--until {text!r} is no day: 2027-01-31 is wanted.", 2)
    if end <= datetime.now(UTC):
        fail(f"--until {text} is over already.", 2)
    return end


def _sights(manifest: Manifest, tables: list[str], where: list[str], hide: list[str]) -> dict[str, Sight]:
    """What is seen of each table."""
    names = list(dict.fromkeys(tables))
    filters: dict[str, list[str]] = {name: [] for name in names}
    for text in where:
        found = OF_TABLE.fullmatch(text)
        if found and found[1] not in filters:
            fail(f"--where names {found[1]}, which is not shared: {', '.join(names)}.", 2)
        for name in [found[1]] if found else names:
            filters[name].append(found[2] if found else text)
    hidden: dict[str, list[str]] = {name: [] for name in names}
    for text in hide:
        table, _, column = text.rpartition(".")
        if table and table not in hidden:
            fail(f"--hide names {table}, which is not shared: {', '.join(names)}.", 2)
        having = [table] if table else [name for name in names if _has(manifest, name, column)]
        if not having:
            fail(f"--hide {text}: no shared table has such a column.", 2)
        for name in having:
            hidden[name].append(column)
    joined = {name: " AND ".join(f"(\n{one}\n)" for one in found) for name, found in filters.items()}
    joined = {name: filters[name][0] if len(filters[name]) == 1 else joined[name] for name in names}
    return {name: Sight(joined[name], tuple(dict.fromkeys(hidden[name]))) for name in names}


def _has(manifest: Manifest, table: str, column: str) -> bool:
    found = manifest.find(table)
    return found is not None and column.lower() in {name.lower() for name, *_ in found.columns}


def _shown(sights: Mapping[str, Sight]) -> str:
    parts = []
    for name, sight in sights.items():
        less = f" without {', '.join(sight.hidden)}" if sight.hidden else ""
        parts.append(f"{name}{f' where {sight.where}' if sight.where else ''}{less}")
    return "; ".join(parts)


@app.command()
def shares(
    name: Annotated[str, typer.Argument(help="One share: each of its answers.")] = "",
) -> None:
    """What is shared with whom until when, and how it was used, as far as this machine's service answered."""
    settings = load_settings()
    found = {one.name: one for one in tokens.read_grants(open_storage(settings)).values() if one.sees is not None}
    usage = UsageLog(settings.data_dir)
    if name:
        table = folding_table("at (UTC)", "how", "release", "rows", "KB", "s", "statement", right=("rows", "KB", "s"))
        for use in usage.read(name):
            table.add_row(
                use.at[:19].replace("T", " "), use.way, f"{use.environment}@{use.release}", f"{use.rows:,}",
                f"{use.bytes / 1000:,.1f}", f"{use.seconds:.3f}", use.sql,
            )  # fmt: skip
        if name not in found and not table.row_count:
            fail(f"There is no share {name}. Shares: {', '.join(sorted(found)) or 'none'}.")
        out.print(table)
        return
    if not found:
        out.print("Nothing is shared: `lakehouse share TABLE --to NAME --until DATE` does.", highlight=False)
        return
    table = folding_table("name", "sees", "until (UTC)", "by", "used")
    for grant in sorted(found.values(), key=lambda one: one.name):
        assert grant.sees is not None
        until = (grant.expires_at or "")[:16].replace("T", " ")
        table.add_row(
            grant.name, f"{', '.join(grant.environments)}: {_shown(grant.sees)}",
            f"[red]{until}, over[/red]" if grant.is_expired else until, grant.created_by, _used(usage, grant),
        )  # fmt: skip
    out.print(table)


def _used(usage: UsageLog, grant: Grant) -> str:
    uses = [use for use in usage.read(grant.name) if use.at >= grant.created_at[:19]]
    if not uses:
        return "never"
    return (
        f"{plural(len(uses), 'answer')}, {sum(use.rows for use in uses):,} rows, "
        f"{sum(use.bytes for use in uses) / 1e6:,.1f} MB, {sum(use.seconds for use in uses):,.1f} s; "
        f"last {uses[-1].at[:16].replace('T', ' ')}"
    )
