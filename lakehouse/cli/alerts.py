"""`lakehouse alerts` and `lakehouse alert-test`."""

from __future__ import annotations

import getpass
import json
import sys
from contextlib import closing
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from lakehouse.cli.console import Commands, fail, out
from lakehouse.lake.postgres import connect
from lakehouse.settings import load_settings
from lakehouse.upkeep.alerts.hook import post
from lakehouse.upkeep.alerts.message import Alert, payload
from lakehouse.upkeep.alerts.open import close_alert, open_alerts

app = Commands()


@app.command("alert-test")
def alert_test() -> None:
    """Send a test message to the webhook, and say whether it arrived."""
    settings = load_settings()
    url = settings.alert_webhook_url.get_secret_value()
    if not url:
        fail("LAKEHOUSE_ALERT_WEBHOOK_URL is not set: messages go into the logs alone.", 2)
    message = Alert("test", f"A test message by {getpass.getuser()}: alerts arrive here.", "info", settings.environment)
    problem = post(url, payload(message, settings))
    if problem:
        fail(f"The webhook did not take the message: {problem}. Check LAKEHOUSE_ALERT_WEBHOOK_URL.")
    out.print("The webhook took a test message.")


@app.command("alerts")
def alerts(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    forget: Annotated[str, typer.Option(help="Close this one, of what is no longer there: job x.")] = "",
) -> None:
    """What is wrong and not well again: failed runs, late assets."""
    settings = load_settings()
    with closing(connect(settings)) as connection:
        if forget and close_alert(connection, settings.environment, forget) is None:
            fail(f"Nothing is open under {forget!r} in {settings.environment}: `lakehouse alerts` lists what is.")
        there = connection.execute("SELECT to_regclass('ledger.alerts') IS NOT NULL").fetchone()
        found = open_alerts(connection) if there and there[0] else []
    if as_json:
        rows = [
            {
                "environment": one.environment,
                "subject": one.subject,
                "text": one.text,
                "since": f"{one.since:%Y-%m-%dT%H:%M:%SZ}",
            }
            for one in found
        ]
        json.dump(rows, sys.stdout, indent=1)
        print()
        return
    if not found:
        out.print("Nothing is wrong that anybody was told of.")
        return
    for one in found:
        out.print(f"{one.subject} in {one.environment}", style="bold", markup=False, highlight=False)
        out.print(f"    since {one.since:%Y-%m-%d %H:%M:%S} UTC", highlight=False)
        out.print(Padding(Text(one.text), (0, 0, 0, 4)))
