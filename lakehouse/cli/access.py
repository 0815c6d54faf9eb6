"""`lakehouse login` and `lakehouse policies`: credentials with the least rights, for PostgreSQL and for the storage."""

from __future__ import annotations

import json
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from lakehouse.cli.console import Commands, fail, out
from lakehouse.lake import roles
from lakehouse.lake.postgres import connect
from lakehouse.settings import load_settings
from lakehouse.storage.policies import Who, iam_policy

app = Commands()


class Role(StrEnum):
    """The lake's roles in PostgreSQL."""

    reader = "reader"
    writer = "writer"
    owner = "owner"


@app.command()
def login(
    name: Annotated[str, typer.Argument(help="The login's name in PostgreSQL.")],
    role: Annotated[Role, typer.Option(help="What it may do: docs/security.md.")] = Role.reader,
    password_file: Annotated[
        Path | None, typer.Option(help="Its password is in this file; else you are asked.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Make a login of one of the lake's roles in PostgreSQL, or give one another role and password."""
    settings = load_settings()
    try:
        password = password_file.read_text().strip() if password_file else ""
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{password_file} can't be read: {error}", 2)
    password = password or typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        with closing(connect(settings)) as connection:
            made = roles.make_login(connection, name, role, password)
    except psycopg.errors.UndefinedObject:
        fail("The lake has no roles in PostgreSQL yet: `lakehouse bootstrap` makes them, or says who can.")
    out.print(f"{name} is a login of {made}.", highlight=False)


@app.command()
def policies(
    who: Annotated[Who | None, typer.Argument(help="Whose key it is; without it, each.")] = None,
) -> None:
    """Print the least rights in the storage's bucket, as policies for AWS IAM (JSON)."""
    settings = load_settings()
    if not settings.stores_on_s3:
        fail("LAKEHOUSE_STORAGE is a folder: its rights are the file system's. Policies are for s3://bucket/prefix.", 2)
    found = {str(one): iam_policy(settings.storage_uri, one) for one in Who}
    typer.echo(json.dumps(found[who] if who else found, indent=2))
