"""The published zone's `docs/index.html` follows what readers get."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lakehouse.releases.docs_index import write_docs_index
from lakehouse.releases.log import Pointer, docs_folder
from lakehouse.settings import Settings
from lakehouse.storage import Storage, open_storage

AT = datetime(2026, 11, 28, 19, 5, tzinfo=UTC)


class Numbered:
    """What the index wants to know of a release."""

    environment = "prod"

    def __init__(self, number: int):
        self.number = number


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """With the sites of releases 3 and 5."""
    storage = open_storage(Settings(data_dir=tmp_path))
    for number in (3, 5):
        storage.write(f"{docs_folder('prod')}{number:05d}/index.html", b"a site")
    return storage


def index(storage: Storage, number: int, held_by: str | None = None) -> str:
    pointer = Pointer("prod", number, held_by, AT if held_by else None)
    releases: list[Any] = [Numbered(number), Numbered(5)]
    write_docs_index(storage, releases[0], pointer, releases[1])
    return storage.read(f"{docs_folder('prod')}index.html")[0].decode()


def test_it_leads_to_what_readers_get_and_says_who_rolled_back(storage: Storage) -> None:
    assert 'content="0; url=00005/index.html"' in index(storage, 5)
    back = index(storage, 3, "ann <b>")
    assert 'Readers get <a href="00003/index.html">release 3</a>' in back and "refresh" not in back
    assert "ann &lt;b&gt; rolled back to it on 2026-11-28 at 19:05 UTC" in back
    assert 'The newest is <a href="00005/index.html">release 5</a>' in back
    assert index(storage, 4, "ann") == back, "a release without a site"
    assert 'url=00005/index.html"' in index(storage, 5)
