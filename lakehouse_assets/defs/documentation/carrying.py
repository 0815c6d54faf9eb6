"""A release's own site, in the published zone beside its files."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import dagster as dg

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases.log import Release, docs_folder
from lakehouse.releases.pointer import swap_pointer
from lakehouse_assets.defs.documentation.known import collect
from lakehouse_assets.defs.documentation.site import build_site


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
        with closing(connect(lake.settings)) as connection:
            swap_pointer(lake.storage, connection, release.environment)
    return lake.storage.uri_of(home)
