"""`lakehouse doctor`."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lakehouse.cli.console import Commands, out
from lakehouse.settings import load_settings
from lakehouse.upkeep.doctor.checks import all_checks, examine
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Finding, Level, Result

app = Commands()
COLOURS = {Level.WELL: "green", Level.UNKNOWN: "dim", Level.WARNING: "yellow", Level.WRONG: "red"}
NAME_WIDTH = 13
NAMES = {Level.WELL: "ok", Level.UNKNOWN: "not looked at", Level.WARNING: "warning", Level.WRONG: "wrong"}


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Look for what is wrong, and say what, where, why it matters and what to do. Changes nothing."""
    results = []
    with closing(Examination(load_settings)) as examination:
        for result in examine(examination, all_checks()):
            results.append(result)
            if not as_json:
                _show(result)
    count = {level: sum(result.level is level for result in results) for level in Level}
    if as_json:
        json.dump({"ok": not count[Level.WRONG], "checks": [_record(one) for one in results]}, sys.stdout, indent=1)
        print()
    else:
        out.print(
            f"\n{len(results)} checks: {count[Level.WRONG]} wrong, {count[Level.WARNING]} to know of, "
            f"{count[Level.UNKNOWN]} not looked at.",
            highlight=False,
        )
    if count[Level.WRONG]:
        raise typer.Exit(1)


def _show(result: Result) -> None:
    if not result.findings:
        _line(result.level, result.name, result.line)
    for finding in result.findings:
        _line(finding.level, result.name, finding.what)
        for label, text in (("where", finding.where), ("why", finding.why), ("do", finding.do)):
            out.print(Padding(_labelled(label, text), (0, 0, 0, 4)))


def _line(level: Level, name: str, text: str) -> None:
    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(width=NAME_WIDTH)
    line.add_column(overflow="fold")
    line.add_row(Text(level.value, COLOURS[level]), Text(name, "bold"), Text(text))
    out.print(line)


def _labelled(label: str, text: str) -> Table:
    line = Table.grid(padding=(0, 1))
    line.add_column(width=5, style="dim")
    line.add_column(overflow="fold")
    line.add_row(label, Text(text))
    return line


def _record(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "state": NAMES[result.level],
        "line": result.line,
        "findings": [_finding(finding) for finding in result.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "level": NAMES[finding.level]}
