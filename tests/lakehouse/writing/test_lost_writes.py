"""A store that confirms a write and keeps nothing, or half of it: who wrote is told, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dlt
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.upkeep.maintenance import compaction
from lakehouse.writing import marks
from lakehouse.writing.loads import loading, repair
from lakehouse.writing.lost import LostWriteError, writing
from lakehouse.writing.pipelines import lake_pipeline
from tests.faults import proxy as faults
from tests.faults.proxy import Proxy
from tests.object_store import ObjectStore


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[Proxy]:
    """Before a store of this test."""
    proxy = Proxy(object_store.port, object_store.client).start()
    yield proxy
    proxy.close()


@pytest.fixture
def lake_on_s3(
    proxy: Proxy,
    object_store: ObjectStore,
    lakehouse_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lake]:
    """Behind the proxy."""
    through = {"LAKEHOUSE_S3_ENDPOINT": f"http://127.0.0.1:{proxy.port}"}
    for name, value in (lakehouse_environment | object_store.environment(object_store.new_bucket()) | through).items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    lake = Lake(settings_module.load_settings())
    lake.bootstrap()
    yield lake
    settings_module.load_settings.cache_clear()


@pytest.fixture(params=["nothing is kept", "half is kept"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a lost write leaves in the store."""
    monkeypatch.setattr(faults.random, "random", lambda: float(request.param == "nothing is kept"))
    return {"nothing is kept": "is missing", "half is kept": "bytes instead of"}[request.param]


def load(lake: Lake, number: int) -> None:
    """A load of an appended table and of one whose rows change, each more than the catalog takes in."""

    @dlt.source(name="shop")
    def source() -> Any:
        rows = [{"id": id, "load": number} for id in range(number, 300 + number)]
        yield dlt.resource(rows, name="shop__log")
        yield dlt.resource(rows, name="shop__state", primary_key="id", write_disposition="merge")

    with loading(lake, "shop", {}, run="a test"):
        lake_pipeline(lake, "shop").run(source()).raise_on_failed_jobs()


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    with closing(lake.connect(read_only=True)) as connection:
        return connection.execute(sql).fetchall()


def loaded(lake: Lake) -> tuple[Any, ...]:
    """Rows of both tables; of the second by the load that brought them."""
    (log,) = rows(lake, "SELECT count(*), max(load) FROM raw.shop__log")
    return (*log, *rows(lake, "SELECT load, count(*) FROM raw.shop__state GROUP BY load ORDER BY load"))


@pytest.mark.slow
def test_a_load_whose_files_are_lost_fails_by_name_and_the_next_brings_its_rows(
    lake_on_s3: Lake, proxy: Proxy, kept: str
) -> None:
    load(lake_on_s3, 1)
    assert loaded(lake_on_s3) == (300, 1, (1, 300))
    proxy.mode = "writes lost"
    with pytest.raises(LostWriteError, match=f"of raw.*shop__.*{kept}"):
        load(lake_on_s3, 2)
    proxy.mode = "pass"
    repair(lake_on_s3, ["shop"], run="a test")  # where what the undo wrote was lost too
    assert loaded(lake_on_s3) == (300, 1, (1, 300))
    load(lake_on_s3, 2)
    assert loaded(lake_on_s3) == (600, 2, (1, 1), (2, 300))
    with closing(connect(lake_on_s3.settings)) as connection:
        assert marks.read(connection) == []


@pytest.mark.slow
def test_a_model_whose_file_is_lost_fails_by_name_and_its_table_can_be_read(
    lake_on_s3: Lake, proxy: Proxy, kept: str
) -> None:
    with closing(lake_on_s3.connect()) as connection:
        counted = "count(*), count(DISTINCT number), min(number), max(number)"
        connection.execute("CREATE TABLE marts.numbers AS SELECT range AS number FROM range(1000)")
        for statement in (
            "INSERT INTO marts.numbers SELECT range FROM range(5000)",
            "DELETE FROM marts.numbers WHERE number % 2 = 0",
            "UPDATE marts.numbers SET number = -number WHERE number % 2 = 0",
        ):
            proxy.mode = "writes lost"
            with pytest.raises(LostWriteError, match=f"of marts.numbers .*{kept}"):
                with writing(lake_on_s3, "marts.numbers"):
                    connection.execute(statement)
            proxy.mode = "pass"
            told = rows(lake_on_s3, f"SELECT {counted} FROM marts.numbers")
            assert told == [(1000, 1000, 0, 999)], statement
        with writing(lake_on_s3, "marts.numbers"):
            connection.execute("DELETE FROM marts.numbers WHERE number < 500")
    assert rows(lake_on_s3, "SELECT count(*), min(number) FROM marts.numbers") == [(500, 500)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kept"), [("small files", "half is kept"), ("deleted rows", "nothing is kept")], indirect=["kept"]
)
def test_compaction_whose_files_are_lost_leaves_the_table_as_it_was(
    lake_on_s3: Lake, proxy: Proxy, kind: str, kept: str
) -> None:
    with closing(lake_on_s3.connect()) as connection:
        connection.execute("CREATE TABLE raw.t (id INT)")
        for number in range(5):
            connection.execute(f"INSERT INTO raw.t SELECT range + 20 * {number} FROM range(20)")
        if kind == "deleted rows":
            connection.execute("DELETE FROM raw.t WHERE id % 2 = 0")
    before = rows(lake_on_s3, "FROM raw.t ORDER BY ALL")
    proxy.mode = "writes lost"
    done = compaction.compact(lake_on_s3, {}, wait_seconds=0.1)
    proxy.mode = "pass"
    assert done.problems or "the store confirmed" in str(done.figures["left"])
    assert rows(lake_on_s3, "FROM raw.t ORDER BY ALL") == before
    done = compaction.compact(lake_on_s3, {}, wait_seconds=0.1)
    assert (done.problems, done.figures["left"]) == ((), "none")
    assert done.figures["files_after"] < done.figures["files_before"]
    assert rows(lake_on_s3, "FROM raw.t ORDER BY ALL") == before
