"""The zones as IO managers for users' own assets: the same code on a folder and on S3."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.landing.zones import LandingFolder
from lakehouse.storage import StorageError
from lakehouse.storage.s3 import S3Storage
from lakehouse_assets.io_managers import LandingIOManagerFactory, ZoneIOManagerFactory
from lakehouse_assets.resources import StorageResource

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")


@dg.asset(
    key=["features", "spend"],
    partitions_def=DAYS,
    io_manager_key="zone",
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def spend(context: dg.AssetExecutionContext) -> Any:
    """A frame for each day that was asked for."""
    frames = {day: pl.DataFrame({"day": [day] * 3, "amount": [1, 2, 3]}) for day in context.partition_keys}
    return frames if len(frames) > 1 else next(iter(frames.values()))


@dg.asset(io_manager_key="zone", ins={"spend": dg.AssetIn(key=["features", "spend"])})
def total(spend: dict[str, pl.DataFrame]) -> pa.Table:
    """Over every day."""
    return pa.table({"days": [len(spend)], "amount": [sum(frame["amount"].sum() for frame in spend.values())]})


@dg.asset(io_manager_key="zone")
def stream() -> pa.RecordBatchReader:
    """Many batches, never whole in memory."""
    schema = pa.schema([("i", pa.int64())])
    return pa.RecordBatchReader.from_batches(
        schema, (pa.record_batch([pa.array(range(n * 1000, n * 1000 + 1000))], schema=schema) for n in range(50))
    )


@dg.asset(io_manager_key="zone")
def lazy(stream: pl.LazyFrame) -> pl.LazyFrame:
    """A lazy frame from a lazy frame."""
    return stream.filter(pl.col("i") < 10)


@dg.asset(io_manager_key="zone")
def panda(lazy: pd.DataFrame) -> pd.DataFrame:
    """pandas on both sides."""
    return lazy.assign(twice=lazy["i"] * 2)


@dg.asset(ins={"folder": dg.AssetIn(key=["landing", "shop"], input_manager_key="landing")})
def landed(folder: LandingFolder) -> dg.MaterializeResult:
    """What lies in the landing zone."""
    return dg.MaterializeResult(metadata={"files": json.dumps([file.key for file in folder.files()])})


@dg.asset(io_manager_key="zone")
def wrong() -> object:
    """Nothing that Parquet holds."""
    return object()


ASSETS = [spend, total, stream, lazy, panda, dg.AssetSpec(["landing", "shop"]), landed, wrong]


@pytest.fixture
def resources(
    storage_environment: dict[str, str], lakehouse_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    for name, value in {**lakehouse_environment, **storage_environment}.items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    storage = StorageResource()
    opened = storage.open()
    if isinstance(opened, S3Storage):
        opened.make_ready()
    yield {
        "zone": ZoneIOManagerFactory(storage=storage, environment="dev_ann"),
        "landing": LandingIOManagerFactory(storage=storage),
    }
    settings_module.load_settings.cache_clear()


def run(resources: dict[str, Any], *assets: Any, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(ASSETS, selection=list(assets), resources=resources, raise_on_error=False, **options)


def test_several_partitions_at_once_are_a_file_each(resources: dict[str, Any]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-03"}
        assert run(resources, spend, tags=tags, instance=instance).success
        assert run(resources, spend, partition_key="2024-01-04", instance=instance).success
        done = run(resources, total, instance=instance)
        assert done.success
        assert done.asset_value("total").to_pylist() == [{"days": 4, "amount": 24}]
    keys = [found.key for found in StorageResource().open().list("published/dev_ann/assets/")]
    assert [key for key in keys if "spend" in key] == [
        f"published/dev_ann/assets/features/spend/2024-01-0{day}.parquet" for day in range(1, 5)
    ]


def test_frames_streams_and_lazy_frames_go_through(resources: dict[str, Any]) -> None:
    done = run(resources, stream, lazy, panda)
    assert done.success
    assert done.asset_value("panda")["twice"].to_list() == [2 * i for i in range(10)]
    (made,) = done.asset_materializations_for_node("stream")
    assert made.metadata["dagster/row_count"].value == 50_000


def test_landing_is_read_through_one_as_well(resources: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x\n1\n")
    StorageResource().open().upload(file, "landing/shop/a.csv")
    (made,) = run(resources, landed).asset_materializations_for_node("landed")
    assert made.metadata["files"].value == '["landing/shop/a.csv"]'


def test_what_is_no_frame_is_refused_with_a_sentence(resources: dict[str, Any]) -> None:
    done = run(resources, wrong)
    assert not done.success
    (failed,) = [event for event in done.all_events if event.is_step_failure]
    assert "return an Arrow table" in str(failed.step_failure_data.error)


def test_a_store_that_is_away_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "LAKEHOUSE_DATA_DIR": str(tmp_path), "LAKEHOUSE_STORAGE": "s3://bucket/lake",
        "LAKEHOUSE_S3_ENDPOINT": "http://127.0.0.1:9", "LAKEHOUSE_S3_ACCESS_KEY_ID": "a",
        "LAKEHOUSE_S3_SECRET_ACCESS_KEY": "b-secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    with pytest.raises(StorageError, match="can't be reached"):
        Lake(settings_module.load_settings()).storage.find("landing/x")
    settings_module.load_settings.cache_clear()
