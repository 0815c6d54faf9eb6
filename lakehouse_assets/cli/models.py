"""`lakehouse model`: staging models for raw tables, and the raw tables as the models see them."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.console import out
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse_assets.cli import GraphCommands

app = GraphCommands()
model_app = GraphCommands(no_args_is_help=True)
app.add_typer(model_app, name="model")


@model_app.callback()
def model() -> None:
    """Models: write one for a raw table, keep external_models.yaml as the lake is."""


@model_app.command()
def init(
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help="raw.crm__orders, say; several at once.")],
) -> None:
    """Write the staging models of raw tables and their unit tests."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.transformation import external_models, new_model

    columns = external_models.there(lake)
    for table in tables:
        made, files = new_model.make(table, columns)
        external_models.write(columns, [made.replace("staging.stg_", "raw.")])
        for path in files:
            out.print(f"Wrote sqlmesh_project/{path}.", highlight=False, markup=False, soft_wrap=True)
    out.print(
        "They are yours now: rename, describe, leave out. Then: lakehouse lint-models, lakehouse deploy",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


@model_app.command()
def external() -> None:
    """Write the columns of the raw tables that models read into external_models.yaml, as the lake has them."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.transformation import external_models

    changed = external_models.write(external_models.there(lake))
    for name in changed:
        out.print(f"{name} is written anew.", highlight=False)
    if not changed:
        out.print("external_models.yaml is as the lake is.")
