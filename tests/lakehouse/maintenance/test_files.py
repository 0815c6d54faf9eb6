"""Files are deleted when nobody can need them, and never before."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.lake.ducklake import IDENTITY_KEY, Lake, LakeError
from lakehouse.upkeep.maintenance import compaction, files, snapshots
from tests.databases import create_database
from tests.lakehouse.maintenance.conftest import Tended


def lying(tended: Tended) -> set[str]:
    """The Parquet files in the table's folder."""
    return {path.name for path in Path(tended.lake.settings.lake_uri).rglob("*.parquet")}


def test_what_was_let_go_stays_for_a_day_for_running_queries(tended: Tended) -> None:
    tended.small_increments(6)
    reader = tended.lake.connect(read_only=True)
    with closing(reader):
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM raw.t").fetchone() == (120,)
        compaction.compact(tended.lake, {})
        snapshots.expire(tended.forgetful, grace_seconds=0)
        assert files.delete_unused(tended.lake).figures["files_after"] == len(lying(tended)) == 7
        assert reader.execute("SELECT sum(id) FROM raw.t").fetchone() == (sum(range(120)),)
        reader.execute("COMMIT")
    dry = files.delete_unused(tended.lake, hours=0, dry_run=True)
    assert len(lying(tended)) == 7
    done = files.delete_unused(tended.lake, hours=0)
    assert len(lying(tended)) == done.figures["files_after"] == dry.figures["files_after"] == 1
    assert done.bytes_freed > 0
    assert tended.rows("SELECT count(*) FROM raw.t") == [(120,)]


def test_an_orphan_goes_when_it_is_too_old_for_a_writer_at_work(tended: Tended) -> None:
    tended.small_increments(2)
    folder = Path(tended.lake.settings.lake_uri) / "raw" / "t"
    fresh, old = folder / "fresh.parquet", folder / "old.parquet"
    for path in (fresh, old):
        path.write_bytes(b"half a file")
    os.utime(old, (1_700_000_000, 1_700_000_000))
    assert "1 file" in files.delete_orphans(tended.lake, dry_run=True).summary
    assert old.exists()
    assert files.delete_orphans(tended.lake).bytes_freed == len(b"half a file")
    assert fresh.exists() and not old.exists()
    assert tended.rows("SELECT count(*) FROM raw.t") == [(40,)]


def test_the_file_of_a_transaction_older_than_any_age_is_nobody_s_orphan(tended: Tended) -> None:
    tended.small_increments(2)
    with closing(tended.lake.connect()) as writer:
        writer.execute("BEGIN")
        writer.execute("SELECT count(*) FROM raw.t")
        time.sleep(1.1)  # files have whole seconds for DuckLake
        writer.execute("INSERT INTO raw.t SELECT range::INT, 'slow' FROM range(1000, 2000)")
        assert "0 files" in files.delete_orphans(tended.lake, hours=0).summary
        writer.execute("COMMIT")
    assert tended.rows("SELECT count(*), count(DISTINCT text) FROM raw.t") == [(1040, 41)]


def test_a_query_that_lasts_longer_than_any_age_keeps_its_files(tended: Tended) -> None:
    tended.small_increments(6)
    with closing(tended.lake.connect(read_only=True)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM raw.t").fetchone() == (120,)
        compaction.compact(tended.lake, {})
        snapshots.expire(tended.forgetful, grace_seconds=0)
        files.delete_unused(tended.lake, hours=0)
        assert reader.execute("SELECT sum(id) FROM raw.t").fetchone() == (sum(range(120)),)
    assert files.delete_unused(tended.lake, hours=0).bytes_freed > 0


def test_the_files_of_another_lake_are_left_alone(tended: Tended) -> None:
    tended.small_increments(2)
    orphan = Path(tended.lake.settings.lake_uri) / "theirs.parquet"
    orphan.write_bytes(b"x")
    os.utime(orphan, (1_700_000_000, 1_700_000_000))
    tended.lake.storage.delete([IDENTITY_KEY])
    tended.lake.storage.write(IDENTITY_KEY, b'{"lake": "another"}')
    done = files.delete_orphans(tended.lake)
    assert "does not say that it is this lake's" in done.problems[0]
    assert orphan.exists()


def test_a_second_lake_may_not_use_the_storage_of_the_first(tended: Tended, server_url: str) -> None:
    """As after PostgreSQL was lost: an empty catalog over full storage."""
    tended.small_increments(2)
    url = SecretStr(create_database(server_url))
    second = Lake(tended.lake.settings.model_copy(update={"postgres_url": url}))
    with pytest.raises(LakeError, match="holds the files of another lake.*lakehouse restore"):
        second.bootstrap()
    tended.lake.bootstrap()
    assert tended.rows("SELECT count(*) FROM raw.t") == [(40,)]
