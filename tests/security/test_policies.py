"""Rights in the storage, in force on a real S3 server: each key may do its work and nothing beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from lakehouse.settings import Settings
from lakehouse.storage.policies import Who, iam_policy, seaweedfs_identity
from lakehouse.storage.s3 import S3Storage
from lakehouse.upkeep.doctor import database
from lakehouse.upkeep.doctor.examination import Examination
from tests.object_store import ObjectStore, serve

URI = "s3://policies/lake"
KEYS = ("lake/published/prod/current.json", "lake/lake/raw/t/1.parquet", "lake/landing/d/a.csv", "lake2/secret")
IN_THE_LAKE = KEYS[:3]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A server with one identity of each kind, a bucket made by the owner, and an object of each zone."""
    with serve(*(seaweedfs_identity(URI, who, who, f"secret-of-{who}") for who in Who)) as store:
        owner = client(store, Who.owner)
        S3Storage(URI, owner).make_ready(create=True)
        for key in KEYS:
            owner.put_object(Bucket="policies", Key=key, Body=b"1")
        yield store


def client(store: ObjectStore, who: Who) -> Any:
    return store.client(who, f"secret-of-{who}")


def refused(act: Callable[..., Any], **arguments: Any) -> bool:
    """Whether the store says that this key may not."""
    try:
        act(Bucket="policies", **arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "403")
    return False


def readable(one: Any) -> set[str]:
    return {key for key in KEYS if not refused(one.get_object, Key=key)}


def test_the_query_services_key_reads_what_is_published_and_nothing_else(store: ObjectStore) -> None:
    query = client(store, Who.query)
    assert readable(query) == {KEYS[0]}
    assert [found.key for found in S3Storage(URI, query).list("published/")] == ["published/prod/current.json"]
    assert S3Storage(URI, query).find("published/tokens.json") is None
    assert refused(query.list_objects_v2, Prefix="lake/lake/")
    assert refused(query.put_object, Key=KEYS[0], Body=b"2")
    assert refused(query.delete_object, Key=KEYS[0])


def test_a_readers_key_reads_the_whole_lake_and_changes_nothing(store: ObjectStore) -> None:
    reader = client(store, Who.reader)
    assert readable(reader) == set(IN_THE_LAKE)
    assert refused(reader.put_object, Key=KEYS[1], Body=b"2")
    assert refused(reader.delete_object, Key=KEYS[1])
    assert refused(reader.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"})


def test_a_writers_key_writes_the_lake_and_can_not_change_the_bucket(store: ObjectStore) -> None:
    writer = client(store, Who.writer)
    storage = S3Storage(URI, writer)
    storage.make_ready()  # what `lakehouse up` begins with
    storage.write("published/tokens.json", b"{}", new=True)
    storage.copy("published/tokens.json", "lake/copy")
    assert [version.key for version in storage.versions("lake/copy")] == ["lake/copy"]
    storage.delete(["published/tokens.json", "lake/copy"])
    assert readable(writer) == set(IN_THE_LAKE)
    assert refused(writer.put_object, Key="lake2/secret", Body=b"2")
    everybody = '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}'
    assert refused(writer.put_bucket_policy, Policy=everybody)
    assert refused(writer.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"})
    assert refused(writer.delete_bucket)


def test_the_policies_for_aws_name_this_storage_and_no_more() -> None:
    policies = {who: iam_policy(URI, who)["Statement"] for who in Who}
    allowed = {who: {action for one in found for action in one["Action"]} for who, found in policies.items()}
    assert allowed[Who.query] == {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"}
    assert policies[Who.query][0]["Resource"] == "arn:aws:s3:::policies/lake/published/*"
    assert policies[Who.query][1]["Condition"] == {"StringLike": {"s3:prefix": ["lake/published/*"]}}
    assert allowed[Who.query] == allowed[Who.reader] < allowed[Who.writer] < allowed[Who.owner]
    assert policies[Who.writer][0]["Resource"] == "arn:aws:s3:::policies/lake/*"
    assert not {"s3:DeleteObjectVersion", "s3:PutBucketVersioning", "s3:PutBucketPolicy"} & allowed[Who.writer]
    assert "Condition" not in iam_policy("s3://whole-bucket", Who.reader)["Statement"][1]


def test_a_writers_key_is_enough_to_compare_clocks(store: ObjectStore, server_url: str, tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, postgres_url=SecretStr(server_url), storage=URI, s3_endpoint=store.endpoint,
        s3_access_key_id=Who.writer, s3_secret_access_key=SecretStr(f"secret-of-{Who.writer}"),
    )  # fmt: skip
    with closing(Examination(lambda: settings)) as examination:
        assert "PostgreSQL and the object store agree" in database.clocks(examination).line
        # A store that says no from now on: PostgreSQL's clock is looked at all the same.
        examination.storage.client = store.client(Who.writer, "wrong")  # type: ignore[attr-defined]
        assert "this machine and PostgreSQL agree" in database.clocks(examination).line
