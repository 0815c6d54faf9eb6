"""`docs/index.html` of the published zone: leads to the documentation of the release that readers get."""

from __future__ import annotations

from html import escape

from lakehouse.releases.log import Pointer, Release, docs_folder
from lakehouse.storage import NotThereError, Storage

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Documentation</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">{0}</html>
"""


def write_docs_index(storage: Storage, release: Release, pointer: Pointer, newest: Release | None) -> None:
    """Lead to a release's site, if it has one; where readers were rolled back to it, say so and name the newest too."""
    folder = docs_folder(release.environment)
    sites = [one for one in (release, newest) if one and storage.find(f"{folder}{_home(one)}") is not None]
    if release not in sites:
        return
    wanted = _page(release, pointer, newest, has_newest=newest in sites).encode()
    try:
        known, _ = storage.read(f"{folder}index.html")
    except NotThereError:
        known = b""
    if known != wanted:
        storage.write(f"{folder}index.html", wanted)


def _home(release: Release) -> str:
    return f"{release.number:05d}/index.html"


def _page(release: Release, pointer: Pointer, newest: Release | None, *, has_newest: bool) -> str:
    link = f'<a href="{_home(release)}">release {release.number}</a>'
    if not pointer.held_by or newest is None or newest.number == release.number:
        return PAGE.format(f'<meta http-equiv="refresh" content="0; url={_home(release)}"><p>{link}</p>')
    at = f" on {pointer.held_at:%Y-%m-%d at %H:%M} UTC" if pointer.held_at else ""
    other = f"release {newest.number}"
    other = f'<a href="{_home(newest)}">{other}</a>' if has_newest else other
    return PAGE.format(
        f"<h1>Readers get {link}</h1><p>{escape(pointer.held_by)} rolled back to it{at}. "
        f"The newest is {other}; readers don't get it.</p>"
    )
