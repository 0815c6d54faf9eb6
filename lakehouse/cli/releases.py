"""`lakehouse releases`, `rollback`, `release resume`: what readers got, get, and shall get."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from types import MappingProxyType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lakehouse.cli.console import Commands, fail, folding_table, out
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import approval, held, log, publishing
from lakehouse.releases.log import Release
from lakehouse.settings import load_settings

app = Commands()
release_app = Commands(no_args_is_help=True, help="What readers get: approve a release, end a hold.")
app.add_typer(release_app, name="release")
SHOWN_CHANGES = 4


@app.command()
def releases(
    environment: Annotated[str, typer.Argument(help="Of this environment only.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Every kept release: who made it, when, with which code, and what changed."""
    lake = Lake(load_settings())
    with closing(connect(lake.settings)) as connection:
        if not _has_ledger(connection):
            fail("There is no lake yet: `make demo` or `lakehouse bootstrap` creates it.")
        found = [one for one in log.history(connection, environment or None) if one.state != "gone"]
        pointers = {name: log.pointer(connection, name) for name in {one.environment for one in found}}
        back = held.read(connection, environment or None)
        marked = approval.given(connection)
        waiting = {(one.environment, one.number) for name in pointers for one in approval.waiting(connection, name)}
    if as_json:
        # A console would fold long lines.
        typer.echo(
            json.dumps(
                [_record(one, pointers[one.environment]) | _approval(one, marked, waiting) for one in found], indent=1
            )
        )
        return
    if not found:
        _print_held(back)
        out.print(f"{environment or 'No environment'} has {'no' if environment else 'a'} release yet.", highlight=False)
        return
    notes = {key: f"[dim]approved by {escape(by)}[/dim]\n" for key, (by, _) in marked.items()}
    _print(out, found, pointers, notes | dict.fromkeys(waiting, "[yellow]waits to be approved[/yellow]\n"))
    _print_held(back)


def _print_held(back: Sequence[held.HeldBack]) -> None:
    for one in back:
        out.print(f"[yellow]{one.environment}[/yellow]: {escape(str(one))}", highlight=False, soft_wrap=True)


def _has_ledger(connection: object) -> bool:
    row = connection.execute("SELECT to_regclass('ledger.releases') IS NOT NULL").fetchone()  # type: ignore[attr-defined]
    return bool(row and row[0])


def _approval(
    one: Release, marked: dict[tuple[str, int], tuple[str, datetime]], waiting: set[tuple[str, int]]
) -> dict[str, object]:
    by, at = marked.get((one.environment, one.number), (None, None))
    return {"waits_for_approval": (one.environment, one.number) in waiting, "approved_by": by, "approved_at": _time(at)}


def _print(
    console: Console,
    found: list[Release],
    pointers: dict[str, log.Pointer | None],
    notes: Mapping[tuple[str, int], str] = MappingProxyType({}),
) -> None:
    for name in sorted({one.environment for one in found}):
        pointer = pointers[name]
        table = folding_table(
            "release", "cut at (UTC)", "snapshot", "code", "by", "what changed", right=("release", "snapshot"),
            title=f"Releases of {name}" + (f", readers {pointer.hold}" if pointer and pointer.hold else ""),
        )  # fmt: skip
        for one in (release for release in found if release.environment == name):
            changes = _in_short(one.changed)
            table.add_row(
                f"{'→ ' if pointer and pointer.number == one.number else ''}{one.number}",
                f"{one.cut_at:%Y-%m-%d %H:%M:%S}", str(one.snapshot), one.code_version, f"{one.author}, {one.run}",
                ("[yellow]not published yet[/yellow]\n" if one.state == "cut" else notes.get((name, one.number), ""))
                + "\n".join(changes),
            )  # fmt: skip
        console.print(table)
        console.print("[dim]→ what readers get[/dim]")


def _in_short(changed: tuple[str, ...]) -> list[str]:
    """`daily_revenue changed`; many of a kind as `8 tables are new`."""
    kinds: dict[str, list[str]] = {}
    for words in changed:
        table, _, what = words.partition(" ")
        kinds.setdefault(what, []).append(table)
    return [
        f"{len(tables)} tables {_plural(what)}" if len(tables) > SHOWN_CHANGES else f"{', '.join(tables)} {what}"
        for what, tables in kinds.items()
    ]


def _plural(what: str) -> str:
    """`are new` for `is new`."""
    return f"are{what.removeprefix('is')}" if what.startswith("is ") else what


def _record(release: Release, pointer: log.Pointer | None) -> dict[str, object]:
    current = pointer is not None and pointer.number == release.number
    return {
        "environment": release.environment,
        "release": release.number,
        "current": current,
        "held_by": pointer.held_by if current and pointer else None,
        "state": release.state,
        "snapshot": release.snapshot,
        "code_version": release.code_version,
        "run": release.run,
        "author": release.author,
        "cut_at": _time(release.cut_at),
        "published_at": _time(release.published_at),
        "changed": list(release.changed),
        "held_back": {table.name: table.as_of for table in release.tables if table.snapshot},
    }


def _time(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None


@app.command()
def rollback(
    environment: Annotated[str, typer.Argument(help="Whose readers: prod, qa, dev_<name>.")],
    to: Annotated[int | None, typer.Option("--to", help="To this release; default: the one before.")] = None,
) -> None:
    """Give readers an earlier release at once, and hold them there until `lakehouse release resume`."""
    release = publishing.rollback(Lake(load_settings()), environment, to, by=getpass.getuser())
    out.print(
        f"Readers of {environment} get release {release.number} (cut {release.cut_at:%Y-%m-%d %H:%M:%S} UTC) and are "
        f"held there: newer releases wait until `lakehouse release resume {environment}`.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command("export")
def export_model(
    model: Annotated[str, typer.Argument(help="A served model, such as marts.daily_revenue.")],
    to: Annotated[str, typer.Option("--to", help="postgresql://user:password@host:5432/database", prompt=True)],
    table: Annotated[str, typer.Option(help="schema.table there; default: the model's own name.")] = "",
    environment: Annotated[str, typer.Option("--environment", "-e", help="Default: LAKEHOUSE_ENVIRONMENT.")] = "",
    release: Annotated[int | None, typer.Option(help="This release; default: the one that readers get.", min=1)] = None,
) -> None:
    """Copy a published model into a PostgreSQL table, all rows at once."""
    from lakehouse.releases.export import export

    settings = load_settings()
    with out.status(f"Copying {model} …"):
        rows, name, reading = export(settings, model, to, table=table, environment=environment, release=release)
    out.print(
        f"{rows:,} rows of {model}, release {reading.number} of {reading.environment}, are in {name}.", highlight=False
    )


@release_app.command()
def approve(
    environment: Annotated[str, typer.Argument(help="Whose readers.")] = "prod",
    number: Annotated[int | None, typer.Option("--release", help="Default: the newest that waits.", min=1)] = None,
) -> None:
    """Let readers have a release that waits for a second person (LAKEHOUSE_RELEASE_APPROVAL), with those before it.

    Look at it first: `lakehouse releases`, `lakehouse query --release N`. Nobody approves their own.
    """
    release = approval.approve(Lake(load_settings()), environment, number, by=getpass.getuser())
    out.print(f"Readers of {environment} may have release {release.number}.", highlight=False)


@release_app.command()
def resume(environment: Annotated[str, typer.Argument(help="Whose readers: prod, qa, dev_<name>.")]) -> None:
    """End a hold: readers get the newest release again."""
    release = publishing.resume(Lake(load_settings()), environment)
    out.print(f"Readers of {environment} get release {release.number}, the newest that they may have.", highlight=False)
