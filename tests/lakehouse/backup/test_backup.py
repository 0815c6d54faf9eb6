"""A restored lakehouse answers as the saved one did, wherever it lies, whoever wrote meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.landing.versions import files
from lakehouse.releases import log, publishing
from lakehouse.releases.reading import connect_release
from lakehouse.storage import StoredObject
from lakehouse.upkeep.backup import database, named_files, relocation, restoring, taking
from lakehouse.upkeep.backup.checking import check
from lakehouse.upkeep.backup.manifest import BackupError
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.upkeep.backup.restoring import restore
from lakehouse.upkeep.verify.everything import verify
from lakehouse.writing import marks
from lakehouse.writing.locks import holding, maintenance_lock, pipeline_lock
from tests.lakehouse.backup.conftest import fill, lose
from tests.lakehouse.releases.conftest import Publisher, served

FOLDER = pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
QUESTIONS = (
    "SELECT count(*), sum(id), min(day), max(day) FROM raw.events",
    "FROM raw.few",
    "FROM marts.days ORDER BY day",
)


def answers(lake: Lake, snapshot: int | None = None) -> list[Any]:
    with closing(lake.connect(read_only=True, snapshot=snapshot)) as connection:
        return [connection.execute(question).fetchall() for question in QUESTIONS]


def released(lake: Lake, number: int | None = None) -> tuple[int, str, list[Any]]:
    connection, reading = connect_release(lake.settings, "prod", number)
    with closing(connection):
        asked = [connection.execute(question).fetchall() for question in (QUESTIONS[0], QUESTIONS[2])]
        return reading.number, reading.held, asked


def marked(lake: Lake) -> list[str]:
    with closing(connect(lake.settings)) as connection:
        return [str(mark) for mark in marks.read(connection)]


def everything(lake: Lake, snapshots: list[int]) -> list[Any]:
    with closing(connect(lake.settings)) as connection:
        shop = [(file.key, file.state, file.rows) for file in files(lake.storage, connection, "shop")]
    return [
        answers(lake), [answers(lake, snapshot) for snapshot in snapshots], released(lake), released(lake, 1),
        released(lake, 2), marked(lake), shop,
    ]  # fmt: skip


def test_a_restored_lakehouse_answers_the_same_in_another_place(
    publisher: Publisher, place: BackupPlace, elsewhere: Callable[[], Lake]
) -> None:
    fill(publisher)
    with closing(connect(publisher.lake.settings)) as connection:
        snapshots = [release.snapshot for release in log.history(connection)]
    saved = everything(publisher.lake, snapshots)
    assert saved[2][:2] == (1, "held at 1 by ann")
    assert saved[-1] == [("shop/orders.csv", "loaded", 1)]
    taken = taking.take(publisher.lake, place, run="test")
    assert (taken.manifest.missing, taken.damaged) == ((), ())
    lose(publisher.lake.settings)

    lake = elsewhere()
    restore(lake, place, place.choose())

    assert everything(lake, snapshots) == saved
    assert (lake.settings.pipelines_dir / "shop" / "load" / "new").is_dir()
    assert verify(lake, fast=False, run="test").problems == []
    with closing(lake.connect()) as connection:
        connection.execute("INSERT INTO raw.events SELECT i, DATE '2024-03-01' FROM range(2000) t(i)")
    Publisher(lake).publish(served("raw.events", "three", partitioned_by=("day",)), served("marts.days", "three"))
    assert released(lake, 3)[2][0][0][0] == answers(lake)[0][0][0]
    with pytest.raises(BackupError, match="wants an empty lakehouse"):
        restore(lake, place, place.choose())


def test_a_second_backup_copies_what_is_new_and_old_ones_go_with_what_only_they_name(
    publisher: Publisher, place: BackupPlace
) -> None:
    publisher.execute("CREATE TABLE raw.gone AS FROM range(5000)", "CREATE TABLE raw.kept AS FROM range(6000)")
    first = taking.take(publisher.lake, place, run="test")
    before = place.contents()
    publisher.execute("CREATE TABLE raw.later (a INT)")  # in the catalog alone
    again = taking.take(publisher.lake, place, run="test")
    assert again.files_copied == 1, "the dump alone is new"
    publisher.lake.storage.write("published/tokens.json", b"[]")
    publisher.execute("DROP TABLE raw.later")
    third = taking.take(publisher.lake, place, run="test")
    assert third.files_copied == 2

    removed, freed = place.keep(1)

    assert removed == [first.manifest.stamp, again.manifest.stamp]
    assert freed > 0
    assert place.stamps() == [third.manifest.stamp]
    assert set(place.contents()) == {content.key for content in third.manifest.kept()}
    assert len(set(before) & set(place.contents())) == 2
    check(place, place.choose())


@FOLDER
def test_a_killed_backup_is_none_and_helps_the_next(
    publisher: Publisher, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.execute("CREATE TABLE raw.numbers AS FROM range(5000)")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(BackupPlace, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        taking.take(publisher.lake, place, run="killed")
    assert place.stamps() == []
    with pytest.raises(BackupError, match="There is no backup in"):
        place.choose()
    taken = taking.take(publisher.lake, place, run="test")
    assert taken.files_copied == 1, "the dump alone is new"


@FOLDER
def test_a_killed_restore_goes_on_where_it_was(
    publisher: Publisher, place: BackupPlace, elsewhere: Callable[[], Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.execute("CREATE TABLE raw.numbers AS FROM range(5000)")
    taking.take(publisher.lake, place, run="test")
    lake = elsewhere()
    for killed_in in ((database, "restore"), (relocation, "relocate")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(*killed_in, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            restore(lake, place, place.choose())
    restore(lake, place, place.choose())
    with closing(lake.connect(read_only=True)) as connection:
        assert connection.execute("SELECT count(*) FROM raw.numbers").fetchall() == [(5000,)]
    assert lake.storage.find(restoring.AT_WORK) is None


@FOLDER
def test_nothing_is_changed_by_a_damaged_backup(
    publisher: Publisher, place: BackupPlace, elsewhere: Callable[[], Lake], tmp_path: Path
) -> None:
    publisher.execute("CREATE TABLE raw.numbers AS FROM range(5000)")
    manifest = taking.take(publisher.lake, place, run="test").manifest
    (file,) = manifest.files
    content, _ = place.storage.read(file.key)
    place.storage.write(file.key, content[:100] + bytes([content[100] ^ 1]) + content[101:])
    lake = elsewhere()
    with pytest.raises(BackupError, match=f"{file.name} .* is damaged"):
        restore(lake, place, manifest)
    place.storage.delete([file.key])
    with pytest.raises(BackupError, match=f"{file.name} .* is missing"):
        restore(lake, place, manifest)
    assert list(lake.storage.list("lake/")) == []
    with closing(connect(lake.settings)) as connection:
        assert database.used_schemas(connection) == []


@FOLDER
def test_a_backup_without_files_wants_them_in_the_storage(
    publisher: Publisher, place: BackupPlace, elsewhere: Callable[[], Lake]
) -> None:
    publisher.execute("CREATE TABLE raw.numbers AS FROM range(5000)")
    manifest = taking.take(publisher.lake, place, with_files=False, run="test").manifest
    (file,) = manifest.files
    assert set(place.contents()) == {manifest.database.key}
    lake = elsewhere()
    with pytest.raises(BackupError, match=f"lacks 1 of them.*{file.name}"):
        restore(lake, place, manifest)
    content, _ = publisher.lake.storage.read(file.name)
    lake.storage.write(file.name, content)
    restore(lake, place, manifest)
    with closing(lake.connect(read_only=True)) as connection:
        assert connection.execute("SELECT count(*) FROM raw.numbers").fetchall() == [(5000,)]


@FOLDER
def test_a_backup_is_of_one_moment_while_a_loader_writes(
    publisher: Publisher, place: BackupPlace, elsewhere: Callable[[], Lake]
) -> None:
    publisher.execute("CREATE TABLE raw.left (i INT)", "CREATE TABLE raw.right (i INT)")
    working = publisher.lake.settings.pipelines_dir / "shop"
    working.mkdir(parents=True)
    stop, wrote = threading.Event(), threading.Event()

    def write() -> None:
        with (
            holding(publisher.lake.settings, [pipeline_lock("shop")], holder="loader"),
            closing(publisher.lake.connect()) as connection,
        ):
            while not stop.is_set():
                connection.execute("BEGIN")
                connection.execute("INSERT INTO raw.left FROM range(100)")
                connection.execute("INSERT INTO raw.right FROM range(100)")
                connection.execute("COMMIT")
                wrote.set()

    loader = threading.Thread(target=write)
    loader.start()
    try:
        assert wrote.wait(60)
        manifest = taking.take(publisher.lake, place, run="test").manifest
    finally:
        stop.set()
        loader.join()
    assert manifest.pipelines_at_work == ("shop",)
    assert manifest.working_files == ()
    assert manifest.missing == ()
    lake = elsewhere()
    restore(lake, place, manifest)
    with closing(lake.connect(read_only=True)) as connection:
        ((left, right),) = connection.execute(
            "SELECT (SELECT count(*) FROM raw.left), (SELECT count(*) FROM raw.right)"
        ).fetchall()
    assert left == right > 0
    assert lake.newest_snapshot() == manifest.snapshot
    assert verify(lake, fast=False, run="test").problems == []


@pytest.mark.slow
@FOLDER
def test_a_landed_file_replaced_during_a_backup_is_loaded_by_the_restored_lakehouse(
    publisher: Publisher, place: BackupPlace, elsewhere: Callable[[], Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(publisher)
    list_files = named_files.other_files

    def replaced_meanwhile(lake: Lake) -> list[StoredObject]:
        listed = list(list_files(lake))
        lake.storage.write("landing/shop/orders.csv", b"id\n1\n2\n")
        return listed

    monkeypatch.setattr(named_files, "other_files", replaced_meanwhile)
    taking.take(publisher.lake, place, run="test")
    lake = elsewhere()
    restore(lake, place, place.choose())

    assert lake.storage.read("landing/shop/orders.csv")[0] == b"id\n1\n2\n"
    with closing(connect(lake.settings)) as connection:
        assert [file.state for file in files(lake.storage, connection, "shop")] == ["waiting"]


@FOLDER
def test_a_release_is_pruned_when_no_backup_reads_it(publisher: Publisher) -> None:
    lake = publisher.lake
    for content in ("one", "two"):
        publisher.execute(f"CREATE OR REPLACE TABLE raw.numbers AS SELECT '{content}' AS word FROM range(100)")
        publisher.publish(served("raw.numbers", content))
    with (
        publishing.publishing(lake, "prod", run="test") as connection,
        holding(lake.settings, [maintenance_lock(shared=True)], holder="backup"),
    ):
        assert publishing.prune(lake, connection, "prod", 1) == ([], 0)
    with publishing.publishing(lake, "prod", run="test") as connection:
        assert publishing.prune(lake, connection, "prod", 1)[0] == [1]


@FOLDER
def test_a_place_inside_the_lakehouse_is_refused(publisher: Publisher) -> None:
    for address in (
        publisher.lake.settings.lake_uri,
        f"{publisher.lake.settings.storage_uri}/published/x",
        "ftp://host",
    ):
        with pytest.raises(BackupError, match="would be lost with it|neither a folder"):
            BackupPlace.at(publisher.lake.settings, address)
