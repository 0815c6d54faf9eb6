"""`lakehouse env …`, `promote` and `diff`: environments made, listed, dropped, promoted and compared."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from lakehouse.cli.console import err, fail, folding_table, out
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse_assets.cli import GraphCommands

app = GraphCommands()
env_app = GraphCommands(no_args_is_help=True, help="Environments: whose view of the lake. Make, list and drop them.")
app.add_typer(env_app, name="env")

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@env_app.command("create")
def create_environment(
    name: Annotated[str, typer.Argument(help="dev_<name>, or qa, dev, pr_<number>.")],
    source: Annotated[str, typer.Option("--from", help="The environment whose deployed models it shows.")] = "prod",
) -> None:
    """Make an environment from what another one has deployed. Computes nothing: it reads the same tables."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import lifecycle as environments

    environments.create(lake, name, source=source, run=_who("made"), report=err.print)
    (row,) = [row for row in environments.listing(lake) if row.info.name == name]
    lives = f"expires in {_left(row.info.expires_at)}" if row.info.expires_at else "stays until it is dropped"
    out.print(f"{name} is there: {row.info.shared_models} models shared, none computed; {lives}.", highlight=False)
    if name != lake.settings.environment:
        out.print(f"LAKEHOUSE_ENVIRONMENT={name} shows it: `lakehouse query`, `dagster dev`.", highlight=False)


@env_app.command("list")
def list_environments() -> None:
    """Every environment: where its models came from, what is its own, how long it lives."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import lifecycle as environments

    rows = environments.listing(lake)
    if not rows:
        out.print("There is no environment yet: `lakehouse deploy prod` makes the first.")
        return
    table = folding_table(
        "environment", "from", "own", "shared", "deployed (UTC)", "by", "expires in", right=("own", "shared")
    )
    for row in rows:
        table.add_row(
            row.info.name,
            row.source or "files",
            str(row.info.own_models),
            str(row.info.shared_models),
            "[yellow]unfinished[/yellow]" if row.is_unfinished else f"{row.deployed_at:%Y-%m-%d %H:%M}",
            row.deployed_by or "sqlmesh",
            _left(row.info.expires_at),
        )
    out.print(table)
    out.print("[dim]own, shared: models whose table only this environment uses, or others too[/dim]", highlight=False)


@env_app.command("drop")
def drop_environment(
    name: Annotated[str, typer.Argument(help="The environment; none with --expired.")] = "",
    expired: Annotated[bool, typer.Option("--expired", help="All whose time to live has passed.")] = False,
    yes: Yes = False,
    even_prod_or_qa: Annotated[bool, typer.Option("--even-prod-or-qa", help="Drop one that everybody uses.")] = False,
) -> None:
    """Delete an environment: its views, its state and the tables that nobody else uses. Raw stays."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import lifecycle as environments

    if bool(name) == expired:
        fail("Name one environment, or give --expired.", 2)
    names = environments.expired(lake) if expired else [name]
    if not names:
        out.print("No environment has expired.")
    for each in names:
        environments.check_drop(lake, each, even_if_it_stays=even_prod_or_qa)
        if not yes:
            typer.confirm(f"Drop {each}, and the tables that only it uses?", abort=True)
        dropped = environments.drop(
            lake, each, even_if_it_stays=even_prod_or_qa, run=_who("drop"), report=err.print
        )  # fmt: skip
        tables = "1 table or view" if dropped == 1 else f"{dropped} tables and views"
        out.print(f"{each} is dropped, with {tables} that nobody else used.", highlight=False)


@app.command()
def promote(
    source: Annotated[str, typer.Argument(help="The environment that has computed the models, as qa.")],
    target: Annotated[str, typer.Argument(help="The environment that gets them, as prod.")],
    yes: Yes = False,
) -> None:
    """Give an environment the models that another one already computed. Shows what changes; recomputes nothing."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import deploying
    from lakehouse_assets.defs.environments import lifecycle as environments
    from lakehouse_assets.defs.releases import pages
    from lakehouse_assets.defs.releases.publish_by_hand import publish_waiting

    promotion = environments.look(source, target)
    for line in promotion.summary.lines():
        out.print(line, highlight=False, markup=False)
    changes = pages.changes(lake, target, source)
    for line in changes:
        out.print(line, highlight=False, markup=False)
    if promotion.summary.is_empty and not changes and not deploying.is_unfinished(lake, target):
        out.print(f"{target} has {source}'s models already.", highlight=False)
        return
    environments.check(lake, promotion)
    if not yes:
        typer.confirm(f"Promote {source} to {target}?", abort=True)
    environments.promote(lake, source, target, run=_who("promotion"), report=err.print)
    out.print(f"{target} has {source}'s models; nothing was recomputed.", highlight=False)
    publish_waiting(lake, target, out)


@app.command()
def diff(
    left: Annotated[str, typer.Argument(help="The environment to compare with, as prod.")],
    right: Annotated[str, typer.Argument(help="The environment that differs, as dev_<name>.")],
    model: Annotated[str, typer.Argument(help="One model; default: every one that has a table of its own.")] = "",
    sample: Annotated[int, typer.Option(help="Show up to so many rows of each difference.", min=0)] = 0,
    ignore: Annotated[list[str] | None, typer.Option(help="A column not to compare. Default: computed_at.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Compare two environments: columns, rows by the model's grain, matches by column. Changes nothing."""
    lake = Lake(load_settings())
    from lakehouse.lake.differences import IGNORED
    from lakehouse_assets.defs.environments import diff_display, diffing

    found = diffing.diff(lake, left, right, model, sample=sample, ignored=IGNORED if ignore is None else ignore)
    if as_json:
        print(diff_display.as_json(found))
        return
    for part in diff_display.as_rich(found):
        out.print(part, highlight=False)


def _who(act: str) -> str:
    return f"{act} by {getpass.getuser()}"


def _left(moment: datetime | None) -> str:
    if moment is None:
        return "—"
    minutes = int((moment - datetime.now(UTC)).total_seconds() // 60)
    if minutes < 0:
        return "expired"
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
