"""Every damage to a file, a release or the database is named, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.storage import Storage
from lakehouse.upkeep.backup import taking
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.upkeep.backup.putting_back import put_back
from lakehouse.upkeep.verify.everything import verify
from tests.lakehouse.backup.conftest import fill
from tests.lakehouse.releases.conftest import Publisher

Damage = Callable[[Storage, str], None]


def problems(lake: Lake, *, fast: bool = False) -> dict[str, str]:
    return {finding.where: finding.problem for finding in verify(lake, fast=fast, run="test").problems}


def delete(storage: Storage, key: str) -> None:
    storage.delete([key])


def truncate(storage: Storage, key: str) -> None:
    storage.write(key, storage.read(key)[0][:-10])


def flip_a_bit(storage: Storage, key: str) -> None:
    content = bytearray(storage.read(key)[0])
    content[len(content) // 3] ^= 1
    storage.write(key, bytes(content))


@pytest.mark.slow
def test_a_damaged_file_is_named_and_comes_back_from_a_backup(publisher: Publisher, place: BackupPlace) -> None:
    fill(publisher)
    lake = publisher.lake
    assert problems(lake) == {}
    taking.take(lake, place, run="test")
    stored = [found.key for found in lake.storage.list("lake/raw/events/")]
    published = [found.key for found in lake.storage.list("published/prod/data/raw/events/")]
    by_size: dict[str, tuple[Damage, str]] = {
        stored[0]: (truncate, "bytes instead of"),
        published[0]: (delete, "missing"),
        published[1]: (truncate, "bytes instead of"),
        "published/prod/releases/00001/manifest.json": (truncate, "damaged"),
        "published/prod/releases/00002/catalog.ducklake": (delete, "nobody can attach release 2"),
    }
    by_reading: dict[str, tuple[Damage, str]] = {
        stored[1]: (flip_a_bit, "needs it"),
        published[2]: (flip_a_bit, "release 2 of prod, raw.events needs it"),
    }
    damages = by_size | by_reading
    for key, (damage, _) in damages.items():
        damage(lake.storage, key)

    found = problems(lake)
    assert set(found) == set(damages)
    assert {key: said for key, (_, said) in damages.items() if said not in found[key]} == {}
    assert set(problems(lake, fast=True)) == set(by_size)

    assert sorted(put_back(lake, place, damages)) == sorted(damages)
    assert problems(lake) == {}


@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_a_backup_names_what_a_damaged_lakehouse_lacks(publisher: Publisher, place: BackupPlace) -> None:
    publisher.execute("CREATE TABLE raw.numbers AS FROM range(5000)", "CREATE TABLE raw.others AS FROM range(6000)")
    lake = publisher.lake
    first = taking.take(lake, place, run="test")
    flipped, lost = [file.name for file in first.manifest.files]
    flip_a_bit(lake.storage, flipped)
    delete(lake.storage, lost)
    second = taking.take(lake, place, run="test")
    assert second.damaged == (flipped,)
    assert second.manifest.missing == (lost,)
    assert {file.name: file.sha256 for file in second.manifest.files}.items() <= {
        file.name: file.sha256 for file in first.manifest.files
    }.items(), "the copy from before the damage stands in the new backup"


@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_states_that_disagree_are_named(publisher: Publisher) -> None:
    fill(publisher)
    lake = publisher.lake
    cases = {
        "ledger.watermarks": "INSERT INTO ledger.watermarks VALUES ('raw.events', 999)",
        "ledger.marks": "UPDATE ledger.marks SET snapshot = 999",
        "ledger.checked": "INSERT INTO ledger.checked VALUES ('raw.events', 999, 'test')",
        "published/prod/current.json": "UPDATE ledger.pointers SET number = 2",
        "published/prod/releases/00002/manifest.json": "UPDATE ledger.releases SET tables = '[]' WHERE number = 2",
        "marts.days": "UPDATE lakehouse.ducklake_table SET end_snapshot = 1 WHERE table_name = 'events'",
        "s3://elsewhere/file.parquet": "UPDATE lakehouse.ducklake_data_file SET path_is_relative = false, "
        "path = 's3://elsewhere/file.parquet' WHERE data_file_id = (SELECT min(data_file_id) FROM "
        "lakehouse.ducklake_data_file)",
    }
    with closing(connect(lake.settings)) as connection:
        for damage in cases.values():
            connection.execute(damage)
    assert set(problems(lake, fast=True)) == set(cases)
    with closing(connect(lake.settings)) as connection:
        connection.execute("DROP TABLE lakehouse." + inlined_table(connection))
    assert any(
        "rows of the lake that lay in the catalog are lost" in text for text in problems(lake, fast=True).values()
    )


def inlined_table(connection: object) -> str:
    row = connection.execute(  # type: ignore[attr-defined]
        "SELECT i.table_name FROM lakehouse.ducklake_inlined_data_tables i JOIN lakehouse.ducklake_table t "
        "USING (table_id) WHERE t.table_name = 'few'"
    ).fetchone()
    return str(row[0])


@pytest.mark.slow
@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_what_is_no_fault_is_a_note(publisher: Publisher) -> None:
    fill(publisher)
    lake = publisher.lake
    lake.storage.write("lake/raw/events/nobodys.parquet", b"123")
    lake.storage.delete(["landing/shop/orders.csv"])
    findings = verify(lake, fast=False, run="test")
    assert findings.problems == []
    notes = {finding.where: finding.problem for finding in findings.found}
    assert notes["lake/"].startswith("1 file (3 bytes) that no table names")
    assert "no longer there" in notes["landing/shop/orders.csv"]
