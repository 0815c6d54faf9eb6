"""How commands speak: answers on standard output, errors on standard error, exit codes.

0 done, 1 it failed, 2 the command line or a setting is wrong.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

import typer
from rich.console import Console
from rich.table import Table

from lakehouse.settings import Settings, SettingsError, load_settings

out = Console()
err = Console(stderr=True)


def folding_table(*columns: str, title: str | None = None, right: Collection[str] = ()) -> Table:
    """A table whose words a narrow terminal folds and never cuts; `right` names the columns of numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def fail(message: object, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error and end."""
    err.print(f"[red]Error:[/red] {str(message).replace('[', chr(92) + '[')}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def settings_or_exit() -> Settings:
    """The settings, or exit code 2 with a sentence for each that is wrong."""
    try:
        return load_settings()
    except SettingsError as error:
        fail(error, 2)
