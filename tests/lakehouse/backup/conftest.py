"""Small lakes on a folder and on S3, places for their backups, and empty lakehouses elsewhere to restore into."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.landing import landed
from lakehouse.landing.landed import LandedVersion
from lakehouse.releases import publishing
from lakehouse.settings import Settings
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.writing import marks
from tests.databases import create_database
from tests.lakehouse.releases.conftest import Publisher, publisher, served  # noqa: F401 - a fixture


@pytest.fixture
def place(publisher: Publisher, tmp_path: Path) -> BackupPlace:  # noqa: F811
    """On the lake's kind of storage, in another folder or bucket prefix."""
    settings = publisher.lake.settings
    bucket = settings.storage.rpartition("/")[0]
    return BackupPlace.at(settings, f"{bucket}/backups" if settings.stores_on_s3 else str(tmp_path / "backups"))


@pytest.fixture
def elsewhere(publisher: Publisher, tmp_path: Path, server_url: str) -> Callable[[], Lake]:  # noqa: F811
    """An empty lakehouse: another database, another data folder, another storage."""

    def create() -> Lake:
        url = create_database(server_url)
        name = urlsplit(url).path.strip("/")
        settings = publisher.lake.settings
        storage = f"{settings.storage.rpartition('/')[0]}/{name}" if settings.stores_on_s3 else ""
        return Lake(
            settings.model_copy(
                update={
                    "postgres_url": SecretStr(url),
                    "data_dir": tmp_path / name,
                    "storage": storage,
                }
            )
        )

    return create


def fill(publisher: Publisher) -> None:  # noqa: F811
    """Everything that a lakehouse may hold: files, rows in the catalog, deletions, releases, landed files, a mark."""
    publisher.execute(
        "CREATE TABLE raw.events AS SELECT i AS id, DATE '2024-01-01' + (i % 3)::INT AS day FROM range(9000) t(i)",
        "CREATE TABLE raw.few AS SELECT DATE '2024-01-01' AS day, 1.5::DECIMAL(9, 2) AS amount",
        "DELETE FROM raw.events WHERE id % 100 = 0",
        "CREATE VIEW marts.days AS SELECT day, count(*) AS events FROM raw.events GROUP BY day",
    )
    publisher.publish(served("raw.events", "one", partitioned_by=("day",)), served("marts.days", "one"))
    publisher.execute("INSERT INTO raw.events VALUES (1000000, DATE '2024-02-01')")
    publisher.publish(served("raw.events", "two", partitioned_by=("day",)), served("marts.days", "two"))
    lake = publisher.lake
    publishing.rollback(lake, "prod", 1, by="ann")
    lake.storage.write("landing/shop/orders.csv", b"id\n1\n")
    landing = lake.storage.find("landing/shop/orders.csv")
    assert landing is not None
    working = lake.settings.pipelines_dir / "shop"
    (working / "load" / "new").mkdir(parents=True)
    (working / "state.json").write_text("{}")
    with closing(connect(lake.settings)) as connection:
        landed.record(connection, [LandedVersion("shop/orders.csv", landing.etag, 1)], run="test")
        marks.write(connection, "load", "shop", run="killed", snapshot=1, details={"tables": {}})


def lose(settings: Settings) -> None:
    """The storage burns down: a restored lakehouse that still reads there is found out."""
    if not settings.stores_on_s3:
        shutil.rmtree(settings.storage_uri)
        return
    storage = Lake(settings).storage
    storage.delete([found.key for zone in ("lake/", "published/", "landing/") for found in storage.list(zone)])
