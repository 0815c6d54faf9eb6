"""What a storage promises, on a folder and on S3 alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse import settings as settings_module
from lakehouse.settings import Settings
from lakehouse.storage import ConflictError, NotThereError, Storage, StorageError, open_storage
from lakehouse.storage.s3 import S3Storage
from tests.object_store import ACCESS_KEY, ON_BOTH, READER_KEY, READER_SECRET, ObjectStore


@pytest.fixture
def storage(storage_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setenv("LAKEHOUSE_DATA_DIR", str(tmp_path))
    for name, value in storage_environment.items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    storage = open_storage(settings_module.load_settings())
    if isinstance(storage, S3Storage):
        storage.make_ready()
    yield storage
    settings_module.load_settings.cache_clear()


def _file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(content)
    return path


@ON_BOTH
def test_what_is_uploaded_is_listed_found_and_read(storage: Storage, tmp_path: Path) -> None:
    told: list[int] = []
    done = storage.upload(_file(tmp_path, b"hello"), "landing/shop/a b,ü'.csv", told.append)
    storage.write("landing/other/x", b"1")
    listed = list(storage.list("landing/shop/"))
    assert [(found.key, found.size_bytes, found.etag) for found in listed] == [
        ("landing/shop/a b,ü'.csv", 5, done.etag)
    ]
    assert storage.find("landing/shop/a b,ü'.csv") is not None
    assert storage.read("landing/shop/a b,ü'.csv")[0] == b"hello"
    assert sum(told) == 5
    target = tmp_path / "target"
    storage.download("landing/shop/a b,ü'.csv", target)
    assert target.read_bytes() == b"hello"


@ON_BOTH
def test_a_big_file_arrives_whole(storage: Storage, tmp_path: Path) -> None:
    content = os.urandom(40 * 1024 * 1024)
    assert storage.upload(_file(tmp_path, content), "landing/big").size_bytes == len(content)
    storage.download("landing/big", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()
    assert storage.checksum("landing/big") == digest
    storage.copy("landing/big", "landing/copy")
    assert storage.checksum("landing/copy") == digest


@ON_BOTH
def test_an_etag_changes_with_the_content(storage: Storage) -> None:
    first = storage.write("published/prod/current.json", b"1")
    second = storage.write("published/prod/current.json", b"2")
    assert first != second
    assert storage.read("published/prod/current.json") == (b"2", second)


@ON_BOTH
def test_only_one_of_eight_racing_writers_wins(storage: Storage) -> None:
    first = storage.write("published/prod/current.json", b"0", new=True)

    def swap(number: int) -> bool:
        try:
            storage.write("published/prod/current.json", str(number).encode(), replacing=first)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(swap, range(1, 9))) == 1
    with pytest.raises(ConflictError):
        storage.write("published/prod/current.json", b"x", new=True)


@ON_BOTH
def test_a_copy_leaves_the_original(storage: Storage) -> None:
    storage.write("published/qa/a", b"1")
    storage.copy("published/qa/a", "published/prod/a")
    storage.delete(["published/qa/a"])
    assert storage.read("published/prod/a")[0] == b"1"
    assert storage.find("published/qa/a") is None
    assert list(storage.list("published/qa/")) == []


@ON_BOTH
def test_replaced_and_deleted_landing_files_stay_as_versions(storage: Storage, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        storage.upload(_file(tmp_path, content), "landing/shop/a.csv")
    storage.delete(["landing/shop/a.csv"])
    assert storage.find("landing/shop/a.csv") is None
    kept = [version for version in storage.versions("landing/shop/") if not version.is_deletion]
    contents = []
    for version in kept:
        storage.download(version.key, tmp_path / "old", version.version)
        contents.append((tmp_path / "old").read_bytes())
    assert contents == [b"two", b"one"]
    storage.copy("landing/shop/a.csv", "landing/shop/a.csv", kept[-1].version)
    assert storage.read("landing/shop/a.csv")[0] == b"one"


@ON_BOTH
def test_what_is_not_there_says_so(storage: Storage, tmp_path: Path) -> None:
    assert storage.find("landing/none") is None
    with pytest.raises(NotThereError, match="landing/none"):
        storage.read("landing/none")
    with pytest.raises(NotThereError, match="landing/none"):
        storage.download("landing/none", tmp_path / "x")
    storage.delete(["landing/none"])


@ON_BOTH
def test_a_key_never_leads_out(storage: Storage) -> None:
    with pytest.raises(StorageError, match="leads out"):
        storage.write("landing/../../etc/x", b"")


def _s3(store: ObjectStore, **changed: str) -> Storage:
    given = {
        "storage": "s3://no-such-bucket/lake",
        "s3_endpoint": store.endpoint,
        "s3_access_key_id": ACCESS_KEY,
        "s3_secret_access_key": "lake-secret-2hT9",
        **changed,
    }
    return open_storage(Settings(**given))  # type: ignore[arg-type]


def test_faults_of_a_bucket_are_sentences_without_secrets(object_store: ObjectStore, tmp_path: Path) -> None:
    bucket = object_store.new_bucket()
    faults = {
        "the access key is unknown there": _s3(object_store, s3_access_key_id="nobody"),
        "the secret key is wrong": _s3(object_store, s3_secret_access_key="secret-that-is-wrong"),
        "these credentials may not do that": _s3(
            object_store,
            storage=f"s3://{bucket}/lake",
            s3_access_key_id=READER_KEY,
            s3_secret_access_key=READER_SECRET,
        ),
        "can't be reached": _s3(object_store, s3_endpoint="http://127.0.0.1:9"),
    }
    for sentence, storage in faults.items():
        with pytest.raises(StorageError, match=sentence) as caught:
            storage.upload(_file(tmp_path, b"x"), "landing/x")
        assert "LAKEHOUSE_S3" in str(caught.value)
        assert "secret-" not in str(caught.value)
    missing = _s3(object_store)
    assert isinstance(missing, S3Storage)
    with pytest.raises(StorageError, match="no bucket no-such-bucket. Create it"):
        missing.make_ready()


def test_a_missing_bucket_is_created_when_asked(object_store: ObjectStore) -> None:
    name = f"made-{os.urandom(4).hex()}"
    storage = _s3(object_store, storage=f"s3://{name}/lake")
    assert isinstance(storage, S3Storage)
    for _ in range(2):  # safe to repeat
        storage.make_ready(create=True)
    storage.write("landing/x", b"1")
    assert object_store.client().get_bucket_versioning(Bucket=name)["Status"] == "Enabled"


def test_a_page_in_a_bucket_is_one_to_a_browser(object_store: ObjectStore) -> None:
    bucket = object_store.new_bucket()
    storage = S3Storage(f"s3://{bucket}/lake", object_store.client())
    storage.write("docs/index.html", b"<html>")
    assert storage.client.head_object(Bucket=bucket, Key="lake/docs/index.html")["ContentType"] == "text/html"


def test_an_object_replaced_while_its_parts_are_read_is_never_mixed(object_store: ObjectStore, tmp_path: Path) -> None:
    bucket, big = object_store.new_bucket(), 20 << 20
    storage = S3Storage(f"s3://{bucket}/lake", object_store.client())
    storage.write("landing/a/b.csv", b"1" * big)
    parts = []

    def replace(**_: object) -> None:
        parts.append(1)
        if len(parts) == 2:
            object_store.client().put_object(Bucket=bucket, Key="lake/landing/a/b.csv", Body=b"2" * big)

    storage.client.meta.events.register("before-call.s3.GetObject", replace)
    with pytest.raises(ConflictError, match="was written by somebody else meanwhile"):
        storage.download("landing/a/b.csv", tmp_path / "copy")
