"""Where runs are executed: on this machine, or by workers on any host. dagster.yaml names these two classes, so that
no broker's address and no password stands in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster._core.launcher import RunLauncher
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from lakehouse.settings import load_settings


class LakehouseRunLauncher(RunLauncher, ConfigurableClass):  # type: ignore[misc]
    """Never an instance itself: gives Dagster's default one or the one for workers, by LAKEHOUSE_WORKERS."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure here."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """Which of both."""
        if not load_settings().workers:
            return DefaultRunLauncher(inst_data=inst_data)
        from lakehouse_assets.instance.workers import WorkersRunLauncher

        return WorkersRunLauncher()  # type: ignore[no-untyped-call]


class LakehouseRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue of runs; LAKEHOUSE_CONCURRENT_RUNS says how many are at work at once."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure here."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> LakehouseRunCoordinator:
        return cls(max_concurrent_runs=load_settings().concurrent_runs, inst_data=inst_data)
