"""Dagster's compute logs: in the storage's bucket when that is S3, else in DAGSTER_HOME."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from lakehouse.settings import load_settings

FOLDER = "compute_logs"


class LakehouseComputeLogs(ComputeLogManager, ConfigurableClass):  # type: ignore[misc]
    """Never an instance itself: gives dagster-aws's S3ComputeLogManager or Dagster's local one, by the settings.

    dagster.yaml names this class, so that no address and no key stands in a file.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure here."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """Which of both."""
        settings = load_settings()
        if not settings.stores_on_s3:
            return LocalComputeLogManager(str(settings.dagster_home / "storage"), inst_data=inst_data)
        return _on_s3(inst_data)


def _on_s3(inst_data: ConfigurableClassData | None) -> CloudStorageComputeLogManager:
    from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

    from lakehouse.storage.s3 import S3Storage, s3_client

    settings = load_settings()
    client = s3_client(settings)
    storage = S3Storage(settings.storage_uri, client)
    manager = S3ComputeLogManager(
        bucket=storage.bucket,
        local_dir=str(Path(settings.data_dir) / FOLDER),
        prefix=f"{storage.prefix}/{FOLDER}".strip("/"),
        skip_empty_files=True,
        inst_data=inst_data,
    )
    # dagster-aws 0.29 takes keys from the process's environment only; ours come from the settings.
    manager._s3_session = client
    return manager
