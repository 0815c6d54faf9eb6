"""A release's own site, in the published zone beside its files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dagster as dg

from lakehouse.lake.ducklake import Lake
from lakehouse.releases.log import Release, docs_folder
from lakehouse_assets.defs.documentation.known import collect
from lakehouse_assets.defs.documentation.site import build_site

NEWEST = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Documentation</title>
<meta http-equiv="refresh" content="0; url={0}"><a href="{0}">Release {1}</a></html>
"""


def carry(lake: Lake, instance: dg.DagsterInstance, release: Release) -> str:
    """Write the site of a published release where it is missing, its `index.html` last. Gives that one's address."""
    folder = docs_folder(release.environment)
    home = f"{folder}{release.number:05d}/index.html"
    if lake.storage.find(home) is None:
        known = collect(lake, instance, release.environment, release.number)
        with tempfile.TemporaryDirectory() as temporary:
            site = Path(temporary) / "site"
            build_site(known, site)
            paths = [path for path in sorted(site.rglob("*")) if path.is_file()]
            for path in sorted(paths, key=lambda path: path == site / "index.html"):
                lake.storage.write(f"{folder}{release.number:05d}/{path.relative_to(site)}", path.read_bytes())
        newest = f"{release.number:05d}/index.html"
        lake.storage.write(f"{folder}index.html", NEWEST.format(newest, release.number).encode())
    return lake.storage.uri_of(home)
