"""Commands of `lakehouse` that need the models or the graph: bootstrap, plan, deploy, lint-models, demo.

Those about environments are in environments_cli.py, maintenance is in maintenance_cli.py.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lakehouse.cli.console import err, fail, out
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.roles import Roles, RolesError
from lakehouse.settings import load_settings
from lakehouse.writing.environments import require_ledger
from lakehouse_assets.cli import GraphCommands
from lakehouse_assets.cli import ci as ci_cli
from lakehouse_assets.cli import documentation as documentation_cli
from lakehouse_assets.cli import environments as environments_cli
from lakehouse_assets.cli import maintenance as maintenance_cli
from lakehouse_assets.cli import models as models_cli
from lakehouse_assets.cli import sources as sources_cli
from lakehouse_assets.cli import verify as verify_cli
from lakehouse_assets.cli import workers as workers_cli

app = GraphCommands()
app.add_typer(environments_cli.app)
app.add_typer(maintenance_cli.app)
app.add_typer(verify_cli.app)
app.add_typer(sources_cli.app)
app.add_typer(models_cli.app)
app.add_typer(ci_cli.app)
app.add_typer(documentation_cli.app)
app.add_typer(workers_cli.app)
Environment = Annotated[str, typer.Argument(help="prod, qa, dev_<name>; default: LAKEHOUSE_ENVIRONMENT.")]


@app.command()
def bootstrap(
    create_bucket: Annotated[
        bool, typer.Option("--create-bucket", help="Create the bucket that LAKEHOUSE_STORAGE names, if it is missing.")
    ] = False,
) -> None:
    """Create the lake, its raw tables and PostgreSQL's roles where they are missing. Safe to repeat."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import bootstrapping, deploying

    created = deploying.bootstrap(lake, create_bucket=create_bucket, report=err.print)
    bootstrapping.make_states(lake)
    out.print(f"The lake is there; {len(created)} raw tables are new.", highlight=False)
    try:
        made, new = bootstrapping.make_roles(lake)
    except RolesError as error:
        out.print(f"{error}", highlight=False, markup=False, soft_wrap=True)
        return
    _show_roles(made, new)


def _show_roles(roles: Roles, new: list[str]) -> None:
    table = Table("role in PostgreSQL", "for", "", box=None)
    for role, purpose in (
        (roles.owner, "bootstrap and upgrades"),
        (roles.writer, "loads, runs, deploys, web UI and daemon"),
        (roles.reader, "query --head and status"),
    ):
        table.add_row(role, purpose, "new" if role in new else "")
    out.print(table)
    if new:
        out.print("A login of one: `lakehouse login ann --role writer`. docs/security.md says more.", highlight=False)


@app.command()
def plan(environment: Environment = "") -> None:
    """Show what deploying the checked-out models would change. Changes nothing."""
    settings = load_settings()
    from lakehouse_assets.defs.environments import deploying

    lake = Lake(settings)
    require_ledger(lake)
    _warn_of_raw(lake)
    for line in deploying.plan(environment or settings.environment).lines():
        out.print(line, highlight=False, markup=False)
    _tell_of_pages(lake, environment or settings.environment)


def _warn_of_raw(lake: Lake) -> None:
    from lakehouse_assets.defs.transformation import external_models

    for line in external_models.out_of_step(external_models.there(lake)):
        err.print(line, highlight=False, markup=False, soft_wrap=True)


def _tell_of_pages(lake: Lake, environment: str) -> bool:
    """Whether a deploy would change any."""
    from lakehouse_assets.defs.releases import pages

    changes = pages.changes(lake, environment)
    for line in changes:
        out.print(line, highlight=False, markup=False)
    for fault in pages.faults():
        err.print(f"{fault} Its readers will see this sentence.", highlight=False, markup=False, soft_wrap=True)
    return bool(changes)


@app.command()
def deploy(
    environment: Environment = "",
    backfill: Annotated[bool, typer.Option(help="Compute what is missing before readers see the new models.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="End a hold of the readers, if there is one.")] = False,
) -> None:
    """Apply the checked-out models to an environment, after its unit tests pass and you have seen the plan."""
    settings = load_settings()
    environment = environment or settings.environment
    import dagster as dg

    from lakehouse_assets.defs.environments import deploying
    from lakehouse_assets.defs.environments.deploy_job import report_tests
    from lakehouse_assets.defs.releases.publish_by_hand import publish_waiting, resume_readers

    lake = Lake(settings)
    require_ledger(lake)
    _warn_of_raw(lake)
    summary = deploying.plan(environment)
    for line in summary.lines():
        out.print(line, highlight=False, markup=False)
    changes = _tell_of_pages(lake, environment) or not summary.is_empty or summary.backfills
    if not changes and not deploying.is_unfinished(lake, environment):
        return
    if not yes:
        typer.confirm(f"Deploy to {environment}?", abort=True)
    done = deploying.deploy(
        lake, environment, backfill=backfill, run=f"deploy by {getpass.getuser()}", report=err.print
    )
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        report_tests(instance, done.tests)
    out.print(f"Deployed to {environment}; {len(done.tests)} unit tests passed.", highlight=False)
    publish_waiting(lake, environment, out)
    if resume:
        resume_readers(lake, environment)


@app.command("lint-models")
def lint_models() -> None:
    """Check the models' rules and layout, and the dashboard's pages, as CI does."""
    from lakehouse_assets.defs.releases import pages
    from lakehouse_assets.defs.transformation import external_models
    from lakehouse_assets.models import project
    from lakehouse_assets.sqlmesh_integration.deploy import lint

    load_settings()
    found = [*lint(project()), *external_models.out_of_step(external_models.learned()), *pages.faults()]
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        fail(f"sqlmesh_project/ breaks its rules:\n{lines}\n`sqlmesh format`, run there, lays files out.")
    out.print("The models keep the rules.")


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder with the real files (see the README).", file_okay=False)
    ] = None,
    live: Annotated[bool, typer.Option(help="Ask the real portal for the last 30 days of collisions.")] = False,
) -> None:
    """Take data through the whole graph and show the answers. Run again, it does only what is missing."""
    from lakehouse_assets.cli.demo import run_demo

    run_demo(Lake(load_settings()), out, data=data, live=live)
