"""`lakehouse maintain`: the steps of maintenance by hand."""

from __future__ import annotations

import json
from typing import Annotated

import duckdb
import psycopg
import typer

from lakehouse.cli.console import err, fail, folding_table, out
from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse.upkeep.maintenance.outcome import Outcome
from lakehouse.wording import megabytes
from lakehouse_assets.cli import GraphCommands
from lakehouse_assets.sqlmesh_integration.reasons import ModelsError

app = GraphCommands()


@app.command()
def maintain(
    steps: Annotated[list[str] | None, typer.Argument(help="Only these; default: all, in their order.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Merge small files, forget old states, delete what nobody needs. The schedule `maintenance` does it every night.

    Steps: environments, releases, compaction, snapshots, unused_files, orphans, run_history.
    """
    settings = load_settings()
    import dagster as dg

    from lakehouse_assets.defs.maintenance.steps import STEPS, Work

    unknown = [name for name in steps or () if name not in STEPS]
    if unknown:
        fail(f"There is no step {', '.join(unknown)}. There are: {', '.join(STEPS)}.", 2)
    lake = Lake(settings)
    done: dict[str, Outcome] = {}
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        for step in STEPS.values():
            if steps and step.name not in steps:
                continue
            try:
                with err.status(f"{step.name} …"):
                    done[step.name] = step.do(Work(lake, instance, dry_run, err.print))
            except (LakehouseError, ModelsError, duckdb.Error, psycopg.Error) as error:
                done[step.name] = Outcome("It failed.", problems=(str(error).strip(),))
    problems = [f"{name}: {problem}" for name, outcome in done.items() for problem in outcome.problems]
    if as_json:
        typer.echo(json.dumps({name: _record(outcome) for name, outcome in done.items()}, indent=1))
    else:
        _print(done)
    if problems:
        fail("\n".join(problems))


def _record(outcome: Outcome) -> dict[str, object]:
    return {
        "summary": outcome.summary, "bytes_freed": outcome.bytes_freed, **outcome.figures,
        "problems": list(outcome.problems),
    }  # fmt: skip


def _print(done: dict[str, Outcome]) -> None:
    table = folding_table("step", "what", "freed", right=("freed",))
    table.columns[2].no_wrap = True
    for name, outcome in done.items():
        table.add_row(name, outcome.summary, megabytes(outcome.bytes_freed) if outcome.bytes_freed else "")
    out.print(table)
