"""`lakehouse dataset init`: the declaration of files that nobody has declared yet."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from dlt_sources import datasets
from dlt_sources.landing.declaration import NAME, parse
from dlt_sources.landing.naming import column_name
from lakehouse.cli.console import fail, out
from lakehouse_assets.cli import GraphCommands

app = GraphCommands(no_args_is_help=True, help="Datasets of files: draft the declaration of a new one.")


@app.callback()
def group() -> None:
    """Keep `init` a command of its own, though it is the only one."""


@app.command()
def init(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files as they come, of one format.")],
    name: Annotated[str, typer.Option("--name", "-n", help="The dataset; default: what the files' names share.")] = "",
    entity: Annotated[str, typer.Option("--entity", "-e", help="What a row is: orders, prices. Default: NAME.")] = "",
) -> None:
    """Look at files and write the declaration of their dataset, dlt_sources/datasets/NAME.toml."""
    from dlt_sources.landing.checking import check
    from dlt_sources.landing.drafting import NoDraft, draft, pattern_of
    from dlt_sources.landing.file_reader import FileReader
    from dlt_sources.landing.typed_parquet import UnusableFile

    if missing := [path for path in files if not path.is_file()]:
        fail(f"There is no file {missing[0]}.")
    name = name or column_name(pattern_of([path.name for path in files]).strip("*-_ ."))
    for given in (name, entity or name):
        if not NAME.fullmatch(given):
            fail(f"{given!r} is no name: small letters, digits and _, a letter first. Say another with --name.", 2)
    path = datasets.FOLDER / f"{name}.toml"
    shown = f"dlt_sources/datasets/{path.name}"
    if path.exists():
        fail(f"{shown} is there already. Take another --name, or delete it first.")
    try:
        text = draft(name, entity or name, files)
    except NoDraft as error:
        fail(f"{error}.")
    declared = parse(name, tomllib.loads(text))
    with path.open("x") as file:
        file.write(text)
    out.print(f"Wrote {shown}, for the table raw.{declared.table.name}. Look through it: a comment is a guess.\n")
    with FileReader() as reader:
        for one in files:
            try:
                rows = check(reader, declared, one, one.name, declared.table.column_types, None)
                told = f"would load, {rows:,} row{'' if rows == 1 else 's'}"
            except UnusableFile as error:
                told = f"would be refused: {error}"
            out.print(f"{one.name}: {told}", highlight=False, markup=False, soft_wrap=True)
    out.print(
        f"\nLoad them: lakehouse upload {' '.join(map(str, files))} --dataset {name}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
