"""`lakehouse worker`: execute runs for a lakehouse whose web UI and daemon may be elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.console import fail, out
from lakehouse.lake.ledger import LedgerError
from lakehouse.lake.postgres import PostgresError
from lakehouse.settings import load_settings
from lakehouse_assets.cli import GraphCommands

app = GraphCommands()


@app.command()
def worker(
    slots: Annotated[int, typer.Option(help="How many runs it executes at once.", min=1, max=256)] = 2,
) -> None:
    """Execute runs that the broker gives out, until Ctrl-C; then those at work are waited for."""
    settings = load_settings()
    from lakehouse_assets.instance.workers import WorkersError, broker, work

    if settings.workers != "celery":
        fail("Runs are executed where they are launched: LAKEHOUSE_WORKERS=celery gives them to workers.", 2)
    try:
        broker(settings)
        out.print(f"Takes up to {slots} runs at once; Ctrl-C waits for those at work.", highlight=False)
        work(settings, slots)
    except (WorkersError, LedgerError, PostgresError) as error:
        fail(error, 2)
