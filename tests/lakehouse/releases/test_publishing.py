"""What publishing writes, shares, keeps and lets go of."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.query.engine.releases import Releases
from lakehouse.releases import log, publishing
from lakehouse.releases.log import ReleaseError
from lakehouse.releases.manifest import read_manifest
from lakehouse.releases.pointer import read_pointer, swap_pointer
from lakehouse.releases.reading import connect_release
from tests.lakehouse.releases.conftest import Publisher, served

DAYS = "CREATE TABLE marts.days AS SELECT DATE '2024-01-01' + (i % 10)::INT AS day, i FROM range(5_000) t(i)"


def _sum(publisher: Publisher, number: int | None = None, environment: str = "prod") -> int:
    connection, _ = connect_release(publisher.lake.settings, environment, number)
    with closing(connection):
        row = connection.execute("SELECT sum(i)::BIGINT FROM marts.days").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.slow
def test_only_the_partitions_that_differ_are_written_again(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    days = {"partitioned_by": ("day",)}
    first = publisher.publish(served("marts.days", "1", **days))["marts.days"]
    assert (first.files_written, first.table.rows, len(first.partitions_changed)) == (10, 5_000, 10)

    # One row more in a day; a day rewritten as it was, as a restatement does, is no change.
    publisher.execute(
        "INSERT INTO marts.days VALUES (DATE '2024-01-07', 5)",
        "DELETE FROM marts.days WHERE day = DATE '2024-01-09'",
        "INSERT INTO marts.days SELECT DATE '2024-01-09', i FROM range(8, 5_000, 10) t(i)",
    )
    second = publisher.publish(served("marts.days", "2", **days))["marts.days"]
    assert second.partitions_changed == ("day=2024-01-07",)
    assert (second.files_written, second.files_shared, second.table.rows) == (1, 9, 5_001)
    assert second.bytes_written < first.bytes_written * 0.3
    assert _sum(publisher) == _sum(publisher, 1) + 5

    # A day that is gone, and a day without a date.
    publisher.execute("DELETE FROM marts.days WHERE day = DATE '2024-01-08'", "INSERT INTO marts.days VALUES (NULL, 1)")
    third = publisher.publish(served("marts.days", "3", **days))["marts.days"]
    assert third.partitions_changed == ("day=2024-01-08", "day=__HIVE_DEFAULT_PARTITION__")
    assert third.table.rows == 5_001 - 500 + 1
    assert publisher.publish(served("marts.days", "3", **days))["marts.days"].files_written == 0


def test_another_environments_files_are_copied_inside_the_storage(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    publisher.publish(served("marts.days", "1", partitioned_by=("day",)))
    qa = Publisher(publisher.lake, "qa")
    done = qa.publish(served("marts.days", "1", partitioned_by=("day",)))["marts.days"]
    assert (done.files_written, done.files_copied) == (0, 10)
    assert _sum(publisher, environment="qa") == _sum(publisher)
    assert all(found.key.startswith("published/qa/") for found in publisher.lake.storage.list("published/qa/"))


@pytest.mark.slow
def test_a_rollback_holds_readers_until_somebody_resumes(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    publisher.pages = {"days": "# Days"}
    publisher.publish(served("marts.days", "1"))
    publisher.execute("INSERT INTO marts.days VALUES (DATE '2024-01-07', 5)")
    publisher.pages = {"days": "# More days"}
    publisher.publish(served("marts.days", "2"))
    old, new = _sum(publisher, 1), _sum(publisher, 2)
    assert _sum(publisher) == new

    assert publishing.rollback(publisher.lake, "prod", None, by="ann").number == 1
    assert _sum(publisher) == old
    assert Releases(publisher.lake.storage).find("prod").pages()["pages"] == [{"name": "days", "text": "# Days"}]
    publisher.execute("INSERT INTO marts.days VALUES (DATE '2024-01-07', 7)")
    publisher.publish(served("marts.days", "3"))
    pointer = read_pointer(publisher.lake.storage, "prod")
    assert pointer is not None
    assert (pointer["release"], pointer["newest"], pointer["held"]["by"]) == (1, 3, "ann")
    assert _sum(publisher) == old

    assert publishing.resume(publisher.lake, "prod").number == 3
    assert _sum(publisher) == new + 7


def test_a_rollback_to_what_is_not_there_says_what_is(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    with pytest.raises(ReleaseError, match="prod has no published release. No environment has one yet"):
        publishing.rollback(publisher.lake, "prod", None, by="ann")
    publisher.publish(served("marts.days", "1"))
    with pytest.raises(ReleaseError, match="no release of prod before 1"):
        publishing.rollback(publisher.lake, "prod", None, by="ann")
    with pytest.raises(ReleaseError, match=r"There is no release 9 of prod. Kept are 1."):
        publishing.rollback(publisher.lake, "prod", 9, by="ann")
    with pytest.raises(ReleaseError, match="no release 9 of prod"):
        _sum(publisher, 9)


def test_the_last_releases_are_kept_and_the_files_they_need(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    sums = {}
    for number in range(1, 6):
        publisher.execute(f"INSERT INTO marts.days VALUES (DATE '2024-01-0{number}', {number})")
        publisher.publish(served("marts.days", str(number), partitioned_by=("day",)))
        sums[number] = _sum(publisher)
    publishing.rollback(publisher.lake, "prod", 1, by="ann")
    waiting = publisher.cut(served("marts.days", "6", partitioned_by=("day",)))
    lake = publisher.lake
    lake.storage.write(f"published/prod/data/marts/days/day=2024-01-01/r{waiting.number:05d}-at-work.parquet", b"1")
    with publishing.publishing(lake, "prod", run="test") as connection:
        gone, freed = publishing.prune(lake, connection, "prod", 2)
        assert gone == [3, 2]
        assert freed > 0
        assert publishing.prune(lake, connection, "prod", 2) == ([], 0)
    for number in (1, 4, 5):
        assert _sum(publisher, number) == sums[number]
    for number in (2, 3):
        with pytest.raises(ReleaseError, match="any more"):
            _sum(publisher, number)
    assert any("at-work" in found.key for found in lake.storage.list("published/prod/data/"))
    with pytest.raises(ReleaseError, match=r"Release 2 of prod is no longer kept. Kept are 5, 4, 1."):
        publishing.rollback(lake, "prod", 2, by="ann")


@pytest.mark.slow
@pytest.mark.parametrize("partitioned_by", [(), ("day",)])
def test_files_that_a_kept_release_shares_with_one_that_goes_stay(
    publisher: Publisher, partitioned_by: tuple[str, ...]
) -> None:
    publisher.execute(DAYS, "CREATE TABLE marts.counter AS SELECT 0 AS i")
    storage = publisher.lake.storage
    for number in range(1, 4):  # one table stays as it is, so its files are shared
        publisher.publish(
            served("marts.days", "1", partitioned_by=partitioned_by), served("marts.counter", str(number))
        )
        manifest = read_manifest(storage, f"published/prod/releases/{number:05d}")
        assert manifest is not None
        assert manifest.keys() <= {found.key for found in storage.list("published/prod/data/")}
    total = _sum(publisher)
    with publishing.publishing(publisher.lake, "prod", run="test") as connection:
        assert publishing.prune(publisher.lake, connection, "prod", 1)[0] == [2, 1]
    assert _sum(publisher) == total
    assert {found.key for found in storage.list("published/prod/data/")} == manifest.keys()


@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_a_release_that_a_rollback_is_choosing_is_kept(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    for number in range(1, 4):
        publisher.publish(served("marts.days", str(number)))
    lake, gone = publisher.lake, list[int]()

    def prune() -> None:
        with publishing.publishing(lake, "prod", run="test") as connection:
            gone.extend(publishing.prune(lake, connection, "prod", 1)[0])

    pruner = threading.Thread(target=prune)
    with closing(connect(lake.settings)) as connection:
        with connection.transaction():  # as a rollback does, stopped before its end
            connection.execute("SELECT FROM ledger.pointers WHERE environment = 'prod' FOR UPDATE")
            log.hold(connection, "prod", 1, held_by="ann")
            pruner.start()
            pruner.join(1)
        pruner.join()
        assert gone == [2]
        assert swap_pointer(lake.storage, connection, "prod") == 1
    assert _sum(publisher) == _sum(publisher, 1)


def test_the_log_repairs_the_pointer(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    publisher.publish(served("marts.days", "1"))
    publisher.publish(served("marts.days", "2"))
    lake = publisher.lake
    good = lake.storage.read("published/prod/current.json")[0]
    for damage in (b"{}", b""):
        lake.storage.write("published/prod/current.json", damage)
        with closing(connect(lake.settings)) as connection:
            assert swap_pointer(lake.storage, connection, "prod") == 2
        assert lake.storage.read("published/prod/current.json")[0] == good


def test_a_candidate_waits_in_the_log(lake: Lake) -> None:
    publisher = Publisher(lake)
    publisher.execute(DAYS)
    first = publisher.cut(served("marts.days", "1"))
    with closing(connect(lake.settings)) as connection:
        assert [one.number for one in log.candidates(connection, "prod")] == [first.number]
        assert log.pointer(connection, "prod") is None
    with pytest.raises(ReleaseError, match="prod has no release yet"):
        _sum(publisher)
