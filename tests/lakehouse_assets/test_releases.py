"""When a release is cut, what is in it, and what readers see meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.postgres import connect
from lakehouse.releases import log, publishing
from lakehouse.releases.manifest import read_manifest
from lakehouse.releases.reading import connect_release
from lakehouse_assets.defs.documentation import carrying
from lakehouse_assets.sqlmesh_integration import SqlmeshResource
from tests.lakehouse_assets.conftest import House

DAYS = "SELECT {first} + i, i % 5, 'purchase', TIMESTAMP '{day}' + INTERVAL (i) HOUR, 2 FROM range(48) t(i)"
REVENUE = dg.AssetKey(["marts", "daily_revenue"])


def read(house: House, sql: str, number: int | None = None) -> list[tuple[Any, ...]]:
    """Ask what readers get."""
    connection, _ = connect_release(house.lake.settings, "prod", number)
    with closing(connection):
        return connection.execute(sql).fetchall()


def newest(house: House, state: log.State | None = None) -> log.Release:
    with closing(connect(house.lake.settings)) as connection:
        found = log.newest(connection, "prod", state)
    assert found is not None
    return found


def land(house: House, name: str, first: int, day: str) -> None:
    house.land_events(f"ecommerce_events_{name}.parquet", DAYS.format(first=first, day=day))
    house.load_events()


def release(house: House) -> dg.ExecuteInProcessResult:
    return house.run("publish_release")


@pytest.fixture(scope="module")
def published(house: House) -> House:
    """A release; those that other tests' runs have cut are let go of."""
    with closing(connect(house.lake.settings)) as connection:
        log.forget(connection, log.candidates(connection, "prod"))
    land(house, "released", 73_000_000, "2014-03-01")
    house.run("catch_up")
    assert release(house).success
    return house


def logged(result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(event.message or "" for event in result.all_events)


def test_a_release_holds_every_served_table_as_the_lake_has_it(published: House) -> None:
    current = newest(published, "published")
    assert len(current.tables) == 9
    for table in current.tables:
        columns = "SELECT COLUMNS(*)::VARCHAR FROM"
        assert sorted(read(published, f"{columns} {table.name}"), key=repr) == sorted(
            published.rows(f"{columns} {table.name}"), key=repr
        ), table.name
    listed = read(published, "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE comment IS NOT NULL")
    assert {name for (name,) in listed} == {table.name for table in current.tables}
    assert current.author and current.code_version and current.run.startswith("run ")


def test_a_release_says_whose_its_tables_are_and_what_they_are_made_of(published: House) -> None:
    manifest = read_manifest(published.lake.storage, newest(published, "published").folder)
    assert manifest is not None
    revenue = manifest.find("marts.daily_revenue")
    assert revenue is not None
    assert (revenue.owner, revenue.grain, revenue.cron) == ("analytics", ("event_date",), "@daily")
    checks = {check["name"]: check for check in revenue.checks}
    assert checks and all(check["result"] == "passed" for check in checks.values() if check["blocking"])
    staging = manifest.lineage["marts.daily_revenue"]["total_revenue"]
    assert staging and all(manifest.lineage[table][column][0][0].startswith("raw.") for table, column in staging)


@pytest.mark.slow
def test_only_what_readers_see_makes_a_release(published: House) -> None:
    before = newest(published)
    published.run("catch_up")
    release(published)
    assert newest(published) == before


def test_a_load_is_seen_only_after_the_release_that_holds_it(published: House) -> None:
    sql = "SELECT sum(total_revenue)::DOUBLE FROM marts.daily_revenue"
    before, number = read(published, sql), newest(published).number
    land(published, "later", 73_100_000, "2014-04-01")
    assert read(published, sql) == before
    published.run("catch_up")
    assert read(published, sql) == before
    assert newest(published).changed == ("marts.daily_revenue changed", "marts.rejected_rows changed")
    result = release(published)
    assert read(published, sql) == published.rows(sql) != before
    assert read(published, sql, number) == before
    (done,) = result.asset_materializations_for_node("publish")[-1:]
    assert done.asset_key == dg.AssetKey(["published", "release"])
    assert "ATTACH" in str(done.metadata["attach"].value)
    shared = [one for one in result.asset_materializations_for_node("publish") if "files_shared" in one.metadata]
    written = {one.asset_key.path[-1] for one in shared if one.metadata["files_written"].value}
    assert written == {"daily_revenue"}  # the other has no rows


@pytest.mark.slow
def test_a_subset_that_leaves_others_behind_cuts_none_and_names_them(published: House) -> None:
    before = newest(published)
    land(published, "behind", 73_200_000, "2014-05-01")
    staging = dg.AssetKey(["marts", "rejected_rows"])
    result = published.run("catch_up", asset_selection=[staging])
    said = _cut_sentence(published, result)
    assert "No release was cut" in said
    assert "behind the raw tables that it reads: marts.daily_revenue" in said
    assert f"Readers of prod still see release {before.number}." in said
    assert newest(published) == before
    published.run("catch_up")
    assert newest(published).number == before.number + 1
    release(published)


def _cut_sentence(house: House, result: dg.ExecuteInProcessResult) -> str:
    records = house.instance.all_logs(result.run_id)
    return "\n".join(record.message for record in records if "elease" in record.message)


@pytest.mark.slow
def test_a_failed_model_blocks_until_it_is_healed_whatever_else_succeeds(published: House) -> None:
    before = newest(published)
    bad = "SELECT 73300000, 1, 'purchase', TIMESTAMP '2014-06-01', 1 UNION ALL SELECT 73300001, 1, 'x', NULL, 1"
    path = published.land_events("ecommerce_events_bad_day.parquet", bad)
    with closing(connect(published.lake.settings)) as connection:
        from lakehouse.writing import marks

        marks.write(
            connection,
            "model",
            "prod",
            ["marts.daily_revenue"],
            run="killed",
            snapshot=published.lake.newest_snapshot(),
        )
    result = published.run("catch_up", asset_selection=[dg.AssetKey(["marts", "rejected_rows"])])
    said = _cut_sentence(published, result)
    assert "unfinished: model of marts.daily_revenue in prod, left unfinished by killed" in said
    assert newest(published) == before
    Path(path).unlink()
    published.run("catch_up", asset_selection=[REVENUE])
    with closing(connect(published.lake.settings)) as connection:
        assert not marks.read(connection, "model", "prod")


@pytest.mark.slow
def test_a_run_in_which_something_else_failed_releases_what_is_well(
    published: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one model that fails at every catch-up would keep all tables from readers."""
    before = newest(published)
    land(published, "beside", 73_350_000, "2014-06-11")
    original = SqlmeshResource.run

    class Failing:
        def __init__(self, run: Any) -> None:
            self.run = run

        @property
        def outcomes(self) -> Any:
            return self.run.outcomes

        def __iter__(self) -> Iterator[Any]:
            yield from self.run
            raise dg.Failure("1 of 1 models failed", allow_retries=False)

    monkeypatch.setattr(SqlmeshResource, "run", lambda *args, **named: Failing(original(*args, **named)))
    result = published.run("catch_up", raise_on_error=False)
    assert not result.success
    assert newest(published).number == before.number + 1
    (failure,) = (event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure)
    assert failure is not None and failure.description is not None
    assert f"Release {before.number + 1} of prod is cut: marts.daily_revenue changed" in failure.description
    release(published)


@pytest.mark.slow
def test_what_another_program_wrote_is_checked_before_it_is_released(published: House) -> None:
    """SQLMesh's own command line leaves no evidence: the audits run at the cut, and a bad row blocks it."""
    table = next(one for one in newest(published).tables if one.name == "marts.daily_revenue").physical_table
    before = newest(published)
    with closing(published.lake.connect()) as connection:
        connection.execute(f"INSERT INTO {table} SELECT * REPLACE (-5 AS purchases) FROM {table} LIMIT 1")
    result = published.run("catch_up", asset_selection=[dg.AssetKey(["marts", "rejected_rows"])])
    said = _cut_sentence(published, result)
    assert "marts.daily_revenue: audit" in said
    assert newest(published) == before
    with closing(published.lake.connect()) as connection:
        connection.execute(f"DELETE FROM {table} WHERE purchases = -5")
    published.run("catch_up", asset_selection=[dg.AssetKey(["marts", "rejected_rows"])])
    release(published)


@pytest.mark.proof
def test_a_hold_makes_later_releases_wait(published: House) -> None:
    sql = "SELECT sum(total_revenue)::DOUBLE FROM marts.daily_revenue"
    publishing.rollback(published.lake, "prod", None, by="ann")
    held = read(published, sql)
    land(published, "held", 73_400_000, "2014-07-01")
    published.run("catch_up")
    result = release(published)
    assert "held at" in "\n".join(record.message for record in published.instance.all_logs(result.run_id))
    assert read(published, sql) == held
    publishing.resume(published.lake, "prod")
    assert read(published, sql) == published.rows(sql)


@pytest.fixture
def with_docs() -> Iterator[None]:
    """Releases carry their documentation, as they do unless a setting says no."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_RELEASE_DOCS", "true")
        settings_module.load_settings.cache_clear()
        yield
    settings_module.load_settings.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("with_docs")
def test_a_release_carries_its_documentation_as_long_as_it_is_kept(published: House) -> None:
    assert release(published).success
    storage, folder, number = published.lake.storage, log.docs_folder("prod"), newest(published, "published").number
    assert f'href="{number:05d}/index.html"'.encode() in storage.read(f"{folder}index.html")[0]
    page = storage.read(f"{folder}{number:05d}/tables/marts.daily_revenue.html")[0].decode()
    assert "Sample" in page and "@daily" in page and "analytics" in page
    storage.write(f"{folder}99999/index.html", b"of a release that is gone")
    assert release(published).success
    left = {found.key.removeprefix(folder).split("/")[0] for found in storage.list(folder)}
    assert left == {"index.html", f"{number:05d}"}


@pytest.mark.usefixtures("with_docs")
def test_a_release_is_one_without_its_documentation_too(published: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(carrying, "carry", fail)
    assert release(published).success
