"""`lakehouse load abandon`: end a load that was cut off, without loading again."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from lakehouse.cli.console import Commands, out
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings

app = Commands()
load_app = Commands(help="Loads into raw: end one that was cut off.", no_args_is_help=True)
app.add_typer(load_app, name="load")


@load_app.callback()
def load() -> None:
    """Loads into raw: end one that was cut off."""


@load_app.command()
def abandon(
    name: Annotated[str, typer.Argument(help="The source, as `lakehouse status` names its load.")],
    give_up: Annotated[
        bool, typer.Option("--extracted", help="Also give up what is kept of a source that can't be asked twice.")
    ] = False,
) -> None:
    """Give a source's tables the rows that they had before its unfinished load, and forget that load."""
    settings = load_settings()
    from lakehouse.writing import extracted
    from lakehouse.writing.loads import abandon

    undone = abandon(Lake(settings), name, run=f"abandon by {getpass.getuser()}")
    if give_up and extracted.drop(Lake(settings), name):
        undone.append("What was extracted and not loaded is given up.")
    for sentence in undone or [f"No load of {name} is unfinished: nothing was changed."]:
        out.print(sentence, highlight=False, markup=False, soft_wrap=True)
