"""The command line."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from benchmarks import document, machine
from benchmarks.case import Case, Options
from benchmarks.cases import CASES
from benchmarks.throwaway import CaseError
from lakehouse.settings import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "docs" / "benchmarks.md"
DATA = PROJECT_ROOT.parent / "shared" / "data"
console = Console(stderr=True)


def main(
    only: Annotated[list[str] | None, typer.Option(help="A case's name; may be given again. Default: all.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often each thing is measured.")] = 3,
    scale: Annotated[float, typer.Option(min=0.0001, help="Sizes (rows, days, models) times this.")] = 1.0,
    data: Annotated[Path, typer.Option(help="Folder of the real files.", show_default=False)] = DATA,
    output: Annotated[Path, typer.Option(help="The document to write.", show_default=False)] = DOCUMENT,
    show: Annotated[bool, typer.Option("--list", help="Name the cases and end.")] = False,
) -> None:
    """Measure, and write docs/benchmarks.md. Ends with 1 when a case could not be measured."""
    if show:
        for case in CASES.values():
            typer.echo(f"{case.name:15} {case.title}")
        return
    unknown = [name for name in only or () if name not in CASES]
    if unknown:
        raise typer.BadParameter(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    options = Options(runs, scale, data.resolve())
    failed = [name for name in only or CASES if not _measured(CASES[name], options, output)]
    if failed:
        console.print(f"[red]Not measured: {', '.join(failed)}[/red]")
        raise typer.Exit(1)


def _measured(case: Case, options: Options, output: Path) -> bool:
    """Measure one case and write its section at once, so that a run that is cut short keeps what it has."""
    started = datetime.now(UTC)
    with console.status(f"{case.name}: {case.title} …"):
        try:
            told, is_measured = case.measure(options).markdown(), True
        except CaseError as error:
            told, is_measured = f"**Could not be measured.** {error}", False
        except Exception:  # a case's own mistake must not hide the others
            trace = traceback.format_exc(limit=-2).replace(str(PROJECT_ROOT), ".")
            told, is_measured = f"**Could not be measured.**\n\n```\n{trace}```", False
    seconds = (datetime.now(UTC) - started).total_seconds()
    command = f"python -m benchmarks --only {case.name} --runs {options.runs} --scale {options.scale:g}"
    made = f"`{command}`, {started:%Y-%m-%d %H:%M} UTC, {seconds:.0f} s altogether."
    section = f"## {case.title}\n\n{case.what}\n\n{told}\n\n{made}"
    document.write(output, machine.described(), {case.name: section}, list(CASES))
    console.print(f"[{'green' if is_measured else 'red'}]{case.name}[/] {seconds:.0f} s", highlight=False)
    console.print(Markdown(told))
    return is_measured


if __name__ == "__main__":
    typer.run(main)
