"""What a run prints lies in the bucket when the storage is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import PROJECT_ROOT
from tests.object_store import ObjectStore

SAID = "said by the op, for whoever reads its log"


@dg.op
def speak() -> None:
    print(SAID)


@dg.job(executor_def=dg.in_process_executor)
def speaking() -> None:
    speak()


@pytest.mark.parametrize("storage_environment", ["s3"], indirect=True)
def test_what_a_run_prints_is_read_from_the_bucket(
    storage_environment: dict[str, str],
    lakehouse_environment: dict[str, str],
    object_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**lakehouse_environment, **storage_environment}.items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    Lake(settings_module.load_settings()).bootstrap()
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "dagster_home" / "dagster.yaml", home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))

    def stdout(run_id: str) -> str:
        """As the web UI reads it: through an instance that has not seen the run."""
        with dg.DagsterInstance.from_config(str(home)) as reader:
            records = reader.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
            event = records[0].get_dagster_event().logs_captured_data
            shutil.rmtree(Path(lakehouse_environment["LAKEHOUSE_DATA_DIR"]) / "compute_logs", ignore_errors=True)
            data = reader.compute_log_manager.get_log_data([run_id, "compute_logs", event.file_key])
            return (data.stdout or b"").decode()

    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_id = speaking.execute_in_process(instance=instance).run_id
    assert SAID in stdout(run_id)
    bucket = storage_environment["LAKEHOUSE_STORAGE"].split("/")[2]
    keys = [
        one["Key"]
        for one in object_store.client().list_objects_v2(Bucket=bucket, Prefix="lake/compute_logs")["Contents"]
    ]
    assert any(run_id in key for key in keys)
    settings_module.load_settings.cache_clear()
