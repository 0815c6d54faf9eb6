"""The service over a bucket, with a key that reads the published zone and nothing else."""

from __future__ import annotations

import pytest

from lakehouse.settings import Settings
from tests.databases import create_database, empty_lake
from tests.lakehouse.releases.conftest import Publisher, served
from tests.object_store import ACCESS_KEY, READER_KEY, READER_SECRET, SECRET_KEY, ObjectStore
from tests.query.conftest import serving


@pytest.mark.slow
def test_a_key_that_only_reads_the_published_zone_is_enough(
    server_url: str, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("s3")
    bucket = object_store.new_bucket()
    storage = {
        "storage": f"s3://{bucket}/lake", "s3_endpoint": object_store.endpoint,
        "s3_access_key_id": ACCESS_KEY, "s3_secret_access_key": SECRET_KEY,
    }  # fmt: skip
    settings = Settings(data_dir=folder / "data", postgres_url=create_database(server_url), **storage)
    publisher = Publisher(empty_lake(settings))
    publisher.execute("CREATE TABLE marts.days AS SELECT i, i % 10 AS day FROM range(100_000) t(i)")
    publisher.publish(served("marts.days", "1", partitioned_by=("day",)))
    # A machine that has nothing but this key: no PostgreSQL, no other setting.
    variables = {
        "LAKEHOUSE_DATA_DIR": str(folder / "elsewhere"),
        "LAKEHOUSE_STORAGE": storage["storage"],
        "LAKEHOUSE_S3_ENDPOINT": storage["s3_endpoint"],
        "LAKEHOUSE_QUERY_S3_ACCESS_KEY_ID": READER_KEY,
        "LAKEHOUSE_QUERY_S3_SECRET_ACCESS_KEY": READER_SECRET,
    }
    with serving(settings, folder, **variables) as running:
        assert running.rows("SELECT count(*), sum(i) FROM marts.days") == [[100_000, 4_999_950_000]]
        publisher.execute("DELETE FROM marts.days WHERE i >= 50_000")
        publisher.publish(served("marts.days", "2", partitioned_by=("day",)))
        reply = running.ask("SELECT count(*) FROM marts.days", release=2)
        assert reply.json()["rows"] == [[50_000]]
        for hostile in (
            f"FROM 's3://{bucket}/lake/lake/x.parquet'",
            f"SELECT * FROM read_parquet('s3://{bucket}/lake/published/prod/data/**')",
        ):
            assert running.ask(hostile).status_code == 400
        gone = running.ask("SELECT nope FROM marts.days").text + running.log.read_text()
        for secret in (READER_SECRET, READER_KEY, SECRET_KEY, object_store.endpoint.removeprefix("http://")):
            assert secret not in gone
