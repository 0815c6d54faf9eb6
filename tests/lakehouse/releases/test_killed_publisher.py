"""A publisher killed at any point leaves readers a whole release, and nothing that the next one does not repair."""

from __future__ import annotations

from contextlib import closing

import pytest

from lakehouse.lake.postgres import connect
from lakehouse.releases import log, publishing
from lakehouse.releases.manifest import data_folder, read_manifest
from lakehouse.releases.pointer import swap_pointer
from lakehouse.releases.reading import connect_release
from lakehouse.releases.tables import publish_table
from tests.lakehouse.releases.conftest import Publisher, served
from tests.lakehouse.releases.dying_publisher import (
    BEFORE_CATALOG,
    BEFORE_POINTER,
    BEFORE_ROLLBACK,
    BEFORE_ROW,
    publish_and_die,
)

DAYS = "CREATE TABLE marts.days AS SELECT DATE '2024-01-01' + (i % 5)::INT AS day, i FROM range(5_000) t(i)"
ONE_MORE = "INSERT INTO marts.days VALUES (DATE '2024-01-0{}', 1000)"
FIRST = sum(range(5_000))


def _read(publisher: Publisher, number: int | None = None) -> tuple[int, int]:
    """Release, and its sum."""
    connection, reading = connect_release(publisher.lake.settings, "prod", number)
    with closing(connection):
        row = connection.execute("SELECT sum(i)::BIGINT FROM marts.days").fetchone()
    assert row is not None
    return reading.number, int(row[0])


def _publish_waiting(publisher: Publisher) -> None:
    """What the job does with the oldest candidate."""
    lake = publisher.lake
    with publishing.publishing(lake, "prod", run="repair") as connection:
        release = publishing.next_candidate(lake, connection, "prod", print)
        assert release is not None
        before = publishing.last_manifest(lake, connection, "prod")
        done = tuple(publish_table(lake, release, table, before).table for table in release.tables)
        publishing.complete(lake, connection, release, done)


def _orphans(publisher: Publisher) -> set[str]:
    """Data files that no kept release names."""
    storage = publisher.lake.storage
    with closing(connect(publisher.lake.settings)) as connection:
        kept = [one for one in log.history(connection, "prod") if one.state == "published"]
    manifests = [read_manifest(storage, one.folder) for one in kept]
    needed = set[str]().union(*(manifest.keys() for manifest in manifests if manifest))
    found = {one.key for one in storage.list(data_folder("prod"))}
    assert not needed - found, "a kept release has lost files"
    return found - needed


@pytest.mark.slow
@pytest.mark.parametrize("point", [pytest.param(BEFORE_CATALOG, marks=pytest.mark.proof), BEFORE_ROW])
def test_killed_before_the_logs_row_readers_keep_the_old_release(publisher: Publisher, point: str) -> None:
    publisher.execute(DAYS)
    publisher.publish(served("marts.days", "1", partitioned_by=("day",)))
    publisher.execute(ONE_MORE.format(2))
    publish_and_die(point, "2")
    assert _read(publisher) == (1, FIRST)
    assert _orphans(publisher)

    _publish_waiting(publisher)
    assert _read(publisher) == (2, FIRST + 1000)
    assert _read(publisher, 1) == (1, FIRST)
    assert _orphans(publisher)  # of the first attempt
    with publishing.publishing(publisher.lake, "prod", run="test") as connection:
        assert publishing.prune(publisher.lake, connection, "prod", 1)[0] == [1]
    assert not _orphans(publisher)
    assert _read(publisher) == (2, FIRST + 1000)


def test_killed_before_the_pointers_swap_the_log_repairs_it(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    publisher.publish(served("marts.days", "1", partitioned_by=("day",)))
    publisher.execute(ONE_MORE.format(2))
    publish_and_die(BEFORE_POINTER, "2")
    assert _read(publisher) == (1, FIRST)
    with closing(connect(publisher.lake.settings)) as connection:
        assert log.candidates(connection, "prod") == []
        assert swap_pointer(publisher.lake.storage, connection, "prod") == 2  # as the sensor does
    assert _read(publisher) == (2, FIRST + 1000)

    publish_and_die(BEFORE_ROLLBACK, "")
    assert _read(publisher) == (2, FIRST + 1000)
    publisher.execute(ONE_MORE.format(3))
    publisher.publish(served("marts.days", "3", partitioned_by=("day",)))  # the next publisher swaps for both
    assert _read(publisher) == (1, FIRST)
    assert publishing.resume(publisher.lake, "prod").number == 3
    assert [_read(publisher, number)[1] for number in (1, 2, 3)] == [FIRST, FIRST + 1000, FIRST + 2000]
    assert not _orphans(publisher)


def test_a_release_whose_snapshot_is_gone_does_not_hold_up_the_next(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    publisher.publish(served("marts.days", "1", partitioned_by=("day",)))
    publisher.execute(ONE_MORE.format(2))
    lost = publisher.cut(served("marts.days", "2", partitioned_by=("day",)))
    publisher.execute(ONE_MORE.format(3))
    publisher.cut(served("marts.days", "3", partitioned_by=("day",)))
    publisher.execute(f"CALL ducklake_expire_snapshots('lakehouse', versions => [{lost.snapshot}])")
    told: list[str] = []
    with closing(connect(publisher.lake.settings)) as connection:
        found = publishing.next_candidate(publisher.lake, connection, "prod", told.append)
        assert found is not None and found.number == 3
        assert told == [
            f"Release 2 of prod is given up and will not be published. The lake's snapshot {lost.snapshot} was expired "
            "before it was published. Readers keep the release that they have, and the next one that is cut holds "
            "everything."
        ]
        with pytest.raises(log.ReleaseError, match="Release 2 of prod was never published: The lake's snapshot"):
            log.find(connection, "prod", 2)
    _publish_waiting(publisher)
    assert _read(publisher) == (3, FIRST + 2000)


def test_a_release_that_fails_again_and_again_is_given_up(publisher: Publisher) -> None:
    publisher.execute(DAYS)
    bad = publisher.cut(served("marts.days", "1"))
    with closing(connect(publisher.lake.settings)) as connection:
        for _ in range(publishing.FAILURES_BEFORE_GIVING_UP - 1):
            told = publishing.explain_failure(publisher.lake, connection, bad, ValueError("No Parquet for this."))
            assert told.startswith("No Parquet for this.\nRelease 1 of prod waits and is tried again")
        told = publishing.explain_failure(publisher.lake, connection, bad, ValueError("No Parquet for this."))
        assert "Release 1 of prod is given up and will not be published. It failed 5 times" in told
        assert log.candidates(connection, "prod") == []
    publisher.publish(served("marts.days", "2"))
    assert _read(publisher) == (2, FIRST)
