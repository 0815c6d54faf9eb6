"""`lakehouse verify`."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from lakehouse.cli.console import err, out
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse.upkeep.verify.finding import Finding, Findings
from lakehouse.wording import plural
from lakehouse_assets.cli import GraphCommands

app = GraphCommands()


@app.command()
def verify(
    fast: Annotated[bool, typer.Option("--fast", help="Sizes only: read no file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Read everything: is each file whole, each release readable, do the states agree? Exit code 1 if not."""
    lake = Lake(load_settings())
    from lakehouse.upkeep.verify.everything import verify as verify_everything
    from lakehouse_assets.defs.environments.deploying import without_warnings
    from lakehouse_assets.defs.maintenance.verifying import check_models

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars, without_warnings():
        task = bars.add_task("reading", total=None)
        findings = verify_everything(
            lake, fast=fast, run=f"verify by {getpass.getuser()}", also=check_models,
            report=lambda text: err.print(text, highlight=False),
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        record = {
            "ok": not findings.problems,
            "looked_at": dict(findings.looked_at),
            "findings": [asdict(finding) for finding in findings.found],
        }
        typer.echo(json.dumps(record, indent=1))
    else:
        _print(findings, fast=fast)
    if findings.problems:
        raise typer.Exit(1)


def _print(findings: Findings, *, fast: bool) -> None:
    for finding in findings.found:
        _print_one(finding)
    counts = dict(findings.looked_at)
    size = counts.pop("bytes", 0)
    looked = ", ".join(plural(count, what) for what, count in counts.items())
    out.print(f"Looked at {looked}{'' if fast else f'; {decimal(size)} read'}.", highlight=False, soft_wrap=True)
    if findings.problems:
        out.print(f"[red]{plural(len(findings.problems), 'thing')} wrong.[/red]", highlight=False)
    else:
        out.print("[green]Everything fits.[/green]", highlight=False)


def _print_one(finding: Finding) -> None:
    colour = "yellow" if finding.is_note else "red"
    out.print(f"[{colour}]{'note' if finding.is_note else 'wrong'}[/{colour}] ", end="")
    out.print(f"{finding.where}: {finding.problem}.", highlight=False, markup=False, soft_wrap=True)
    out.print(f"      {finding.advice}", highlight=False, markup=False, soft_wrap=True)
