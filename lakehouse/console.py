"""How commands speak: answers on standard output, errors on standard error, exit codes.

0 done, 1 it failed, 2 the command line or a setting is wrong.
"""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

from lakehouse.settings import Settings, SettingsError, load_settings

out = Console()
err = Console(stderr=True)


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
