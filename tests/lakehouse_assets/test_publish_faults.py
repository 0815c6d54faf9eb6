"""What goes wrong while a release is published is told in a sentence, harms no reader, and is made good by a retry."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dagster as dg
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.releases.log import Release
from lakehouse.releases.manifest import read_manifest
from lakehouse.releases.publishing import publishing_lock
from lakehouse.releases.reading import connect_release
from lakehouse.releases.rule import Cut
from lakehouse.releases.tables import PublishError
from lakehouse.writing.locks import try_lock
from lakehouse_assets import io_managers
from lakehouse_assets.defs.releases import assets as releases
from lakehouse_assets.resources import LakeResource, StorageResource
from lakehouse_assets.sqlmesh_integration.manifest import Manifest, ModelSpec, TableRef
from tests import object_store
from tests.faults import proxy as faults
from tests.faults.proxy import Proxy
from tests.lakehouse.releases.conftest import Publisher, served
from tests.object_store import READER_KEY, READER_SECRET, ObjectStore

TABLES = ("days", "numbers")
FAILURE = "dagster._core.definitions.events.Failure: "


def _model(table: str) -> ModelSpec:
    ref = TableRef("marts", table)
    return ModelSpec(
        fqn=ref.name, ref=ref, kind="FULL", language="sql", dialect="duckdb", view_name=ref.name, depends_on=(),
        external=(), columns=(), audits=(), description=None, owner=None, tags=(releases.PUBLISHED,), cron="@daily",
        cron_seconds=86_400, start="2024-01-01", end=None, interval_unit="day", time_column=None, grains=(),
        data_hash="", path=None,
    )  # fmt: skip


class Desk:
    """Publishes two tables by the product's own job; what is cut is decided here."""

    def __init__(self) -> None:
        self.lake = Lake(settings_module.load_settings())
        self.publisher = Publisher(self.lake)
        self.number = 0

    def change(self) -> Release:
        """Make both tables say the same new number, and cut a release of it."""
        self.number += 1
        for table in TABLES:
            self.publisher.execute(
                f"CREATE OR REPLACE TABLE marts.{table} AS SELECT {self.number} AS number FROM range(5)"
            )
        return self.publisher.cut(*(served(f"marts.{table}", str(self.number)) for table in TABLES))

    def publish(self) -> dg.ExecuteInProcessResult:
        """The job `publish_release`, on an instance of its own."""
        assets = releases.published_assets(Manifest("", tuple(_model(table) for table in TABLES)))
        storage = StorageResource()
        resources = {
            "lake": LakeResource(),
            "storage": storage,
            releases.PUBLISHED_IO: io_managers.ZoneIOManagerFactory(storage=storage, environment="prod"),
        }
        definitions = dg.Definitions(assets=[assets], jobs=[releases.publish_job(assets)], resources=resources)
        return definitions.resolve_job_def(releases.PUBLISH_JOB).execute_in_process(
            instance=dg.DagsterInstance.ephemeral(), raise_on_error=False
        )

    def read(self) -> tuple[Any, ...]:
        """The release that readers get, and what its tables say."""
        connection, reading = connect_release(self.lake.settings, "prod")
        with closing(connection):
            rows = connection.execute(
                "SELECT DISTINCT days.number, numbers.number FROM marts.days, marts.numbers"
            ).fetchall()
        return (reading.number, *rows)

    def states(self) -> dict[int, str]:
        """Of each release in the log."""
        with closing(connect(self.lake.settings)) as connection:
            return {one.number: one.state for one in log.history(connection, "prod")}


def sentences(result: dg.ExecuteInProcessResult) -> list[str]:
    """What each failed attempt said to people."""
    events = [event for event in result.all_events if event.is_step_failure or event.is_step_up_for_retry]
    found = []
    for event in events:
        data: Any = event.event_specific_data
        told = getattr(data, "user_failure_data", None)
        error = data.error.cause or data.error  # Dagster wraps what is tried again
        found.append(str((told and told.description) or error.message.removeprefix(FAILURE)))
    return found


@pytest.fixture
def nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """No candidate waits: nothing that readers see has changed. A retry comes after three seconds."""
    monkeypatch.setattr(releases, "deployed_graph", lambda _: {})
    monkeypatch.setattr(releases, "resource", lambda: None)
    monkeypatch.setattr(releases, "pipeline_of", dict)
    monkeypatch.setattr(releases, "cut_release", lambda *_, **__: Cut("prod"))
    monkeypatch.setattr(releases, "RETRIES", dg.RetryPolicy(max_retries=2, delay=3))


@pytest.fixture
def desk(settings: Any, nothing_new: None) -> Desk:
    """On a folder."""
    desk = Desk()
    desk.lake.bootstrap()
    return desk


@pytest.fixture
def mortal_store() -> Iterator[ObjectStore]:
    """A store of its own, to be killed."""
    with object_store.serve() as store:
        yield store


@pytest.fixture
def desk_on_s3(
    mortal_store: ObjectStore,
    lakehouse_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    nothing_new: None,
) -> Iterator[Desk]:
    """On that store."""
    for name, value in {**lakehouse_environment, **mortal_store.environment(mortal_store.new_bucket())}.items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    desk = Desk()
    desk.lake.bootstrap()
    yield desk
    settings_module.load_settings.cache_clear()


@pytest.mark.proof
def test_a_store_that_dies_in_the_middle_is_a_sentence_and_a_retry_publishes(
    desk_on_s3: Desk, mortal_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk_on_s3.change()
    assert desk_on_s3.publish().success
    before = desk_on_s3.read()
    desk_on_s3.change()
    write, killed = io_managers.publish_table, []

    def kill_before_the_second(lake: Lake, release: Release, table: Any, *others: Any) -> Any:
        if table.name == "marts.numbers" and not killed:
            assert desk_on_s3.read() == before  # one of two tables is there, and nobody sees it
            mortal_store.kill()
            killed.append(threading.Timer(2, mortal_store.start))
            killed[0].start()
        return write(lake, release, table, *others)

    monkeypatch.setattr(io_managers, "publish_table", kill_before_the_second)
    result = desk_on_s3.publish()
    killed[0].join()
    told = sentences(result)
    assert told and "Release 2 of prod waits and is tried again; readers keep the release that they have." in told[0]
    assert "Traceback" not in told[0] and "marts.numbers could not be written to s3://" in told[0]
    for _ in range(5):
        if result.success:
            break
        time.sleep(3)  # the store took longer to come back than all retries
        result = desk_on_s3.publish()
    assert result.success, sentences(result)
    assert desk_on_s3.read() == (2, (2, 2))


@pytest.mark.slow
@pytest.mark.parametrize("keeps", ["nothing", "half"])
def test_a_release_never_names_files_that_the_store_confirmed_and_lost(
    desk_on_s3: Desk, mortal_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, keeps: str
) -> None:
    proxy = Proxy(mortal_store.port, mortal_store.client).start()
    monkeypatch.setattr(faults.random, "random", lambda: float(keeps == "nothing"))
    monkeypatch.setattr(releases, "RETRIES", dg.RetryPolicy(max_retries=0))
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT", f"http://127.0.0.1:{proxy.port}")
    settings_module.load_settings.cache_clear()
    desk = Desk()
    desk.change()
    assert desk.publish().success
    desk.change()
    proxy.mode = "writes lost"
    result = desk.publish()
    proxy.mode = "pass"
    assert not result.success
    told = sentences(result)[-1]
    assert "the store confirmed its files and does not have them: published/prod/data/marts/days/r00002-" in told
    assert ("is missing" if keeps == "nothing" else "bytes instead of") in told
    assert "Release 2 of prod waits and is tried again; readers keep the release that they have." in told
    assert desk.read() == (1, (1, 1))
    assert desk.publish().success
    assert desk.read() == (2, (2, 2))

    # Lost since: not shared with the next release, but written anew.
    manifest = read_manifest(desk.lake.storage, "published/prod/releases/00002")
    assert manifest
    desk.lake.storage.delete(filter(lambda key: "/days/" in key, manifest.keys()))
    desk.publisher.execute("CREATE OR REPLACE TABLE marts.numbers AS SELECT 3 AS number FROM range(5)")
    desk.publisher.cut(served("marts.days", "2"), served("marts.numbers", "3"))
    assert desk.publish().success
    assert desk.read() == (3, (2, 3))
    proxy.close()


def test_without_the_right_to_write_nothing_is_published_and_the_release_waits(
    desk_on_s3: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk_on_s3.change()
    assert desk_on_s3.publish().success
    desk_on_s3.change()
    with monkeypatch.context() as reader:
        reader.setenv("LAKEHOUSE_S3_ACCESS_KEY_ID", READER_KEY)
        reader.setenv("LAKEHOUSE_S3_SECRET_ACCESS_KEY", READER_SECRET)
        settings_module.load_settings.cache_clear()
        result = desk_on_s3.publish()
    settings_module.load_settings.cache_clear()
    assert not result.success
    assert "could not be written to s3://" in sentences(result)[-1] and "403" in sentences(result)[-1]
    assert desk_on_s3.read() == (1, (1, 1))
    assert desk_on_s3.states() == {1: "published", 2: "cut"}
    assert desk_on_s3.publish().success
    assert desk_on_s3.read() == (2, (2, 2))


def test_of_two_publishers_at_once_one_publishes(desk: Desk) -> None:
    desk.change()
    results: list[dg.ExecuteInProcessResult] = []
    publishers = [threading.Thread(target=lambda: results.append(desk.publish())) for _ in range(2)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()
    assert [result.success for result in results] == [True, True], [sentences(result) for result in results]
    assert desk.states() == {1: "published"}
    assert desk.read() == (1, (1, 1))
    written = [
        sum(event.metadata["files_written"].value for event in result.asset_materializations_for_node("publish")[:-1])
        for result in results
    ]
    assert sorted(written) == [0, 2]


def test_a_publication_that_fails_gives_its_lock_back_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when Python collects garbage: the step that holds the lock is not told that its output was not written."""

    def refuse(*_: Any) -> Any:
        raise PublishError("marts.days holds what no Parquet file can.")

    monkeypatch.setattr(io_managers, "publish_table", refuse)
    monkeypatch.setattr(releases, "RETRIES", dg.RetryPolicy(max_retries=1))
    desk.change()
    gc.disable()
    try:
        assert [told.splitlines()[0] for told in sentences(desk.publish())] == [
            "marts.days holds what no Parquet file can."
        ] * 2
        with closing(connect(desk.lake.settings)) as connection:
            assert try_lock(connection, publishing_lock("prod")) is None
    finally:
        gc.enable()


@pytest.mark.slow
def test_a_candidate_that_cannot_be_published_does_not_hold_up_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = desk.change()
    desk.change()
    desk.publisher.execute(f"CALL ducklake_expire_snapshots('lakehouse', versions => [{lost.snapshot}])")
    assert desk.publish().success
    assert desk.states() == {1: "gone", 2: "published"}

    poison = desk.change()
    write = io_managers.publish_table

    def refuse(lake: Lake, release: Release, *others: Any) -> Any:
        if release.number == poison.number:
            raise PublishError("marts.days holds what no Parquet file can.")
        return write(lake, release, *others)

    monkeypatch.setattr(io_managers, "publish_table", refuse)
    monkeypatch.setattr(releases, "RETRIES", dg.RetryPolicy(max_retries=4))
    desk.change()
    result = desk.publish()
    told = sentences(result)
    assert told[0].startswith("marts.days holds what no Parquet file can.\nRelease 3 of prod waits")
    assert "Release 3 of prod is given up and will not be published. It failed 5 times" in told[-1]
    assert desk.publish().success
    assert desk.states() == {1: "gone", 2: "published", 3: "gone", 4: "published"}
    assert desk.read() == (4, (4, 4))
