"""`lakehouse docs`: the lake's documentation as a static site."""

from __future__ import annotations

import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.cli.console import fail, out
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse.writing.environments import require_ledger
from lakehouse_assets.cli import GraphCommands

app = GraphCommands()
docs_app = GraphCommands(no_args_is_help=True, help="The lake's documentation as a static site.")
app.add_typer(docs_app, name="docs")

Folder = Annotated[Path | None, typer.Option("--out", help="Default: docs/ in the data folder.", file_okay=False)]


@docs_app.command()
def build(
    release: Annotated[int | None, typer.Option(help="This release; default: what readers get.", min=1)] = None,
    folder: Folder = None,
) -> None:
    """Write the site: open its index.html from the disk, or put the folder on any web server or bucket."""
    lake = Lake(load_settings())
    target = folder or _folder(lake)
    if target.exists() and any(target.iterdir()) and not (target / "assets" / "site.js").exists():
        fail(
            f"{target} holds something else than a site: --out takes an empty folder, or one that this has written.", 2
        )
    require_ledger(lake)
    import dagster as dg

    from lakehouse_assets.defs.documentation.known import collect
    from lakehouse_assets.defs.documentation.site import build_site

    began = time.monotonic()
    with dg.DagsterInstance.from_config(str(lake.settings.dagster_home)) as instance:
        known = collect(lake, instance, lake.settings.environment, release)
    pages = build_site(known, target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    took = time.monotonic() - began
    out.print(
        f"{pages} pages, {size / 1e6:.1f} MB in {took:.1f} s: {target / 'index.html'}", highlight=False, soft_wrap=True
    )


@docs_app.command()
def serve(
    folder: Folder = None,
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8030,
) -> None:
    """Show the site that `build` has written, to this machine alone, until Ctrl-C."""
    target = folder or _folder(Lake(load_settings()))
    if not (target / "index.html").exists():
        fail(f"{target} holds no site: `lakehouse docs build` writes it.")
    with ThreadingHTTPServer(("127.0.0.1", port), partial(SimpleHTTPRequestHandler, directory=str(target))) as server:
        out.print(f"http://127.0.0.1:{server.server_port} shows {target}; Ctrl-C ends it.", highlight=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            out.print("Ended.")


def _folder(lake: Lake) -> Path:
    return Path(lake.settings.data_dir) / "docs"
