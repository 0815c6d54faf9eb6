"""Run by a test in a process of its own: a load of shop events that dies at a chosen moment of a deletion."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import dagster as dg

from lakehouse_assets.defs.ingestion.assets import LANDING_IO, landing_key, source_assets
from lakehouse_assets.defs.ingestion.files_load import FilesLoad
from lakehouse_assets.io_managers import LandingIOManagerFactory
from lakehouse_assets.resources import LakeResource, StorageResource


def die(*_: Any) -> None:
    """SIGKILL: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """The moment: before or after the rows go, or before the ledger hears of it."""
    complete = FilesLoad.complete

    def complete_and_die(self: FilesLoad) -> None:
        complete(self)
        die()

    moments: dict[str, tuple[str, Any]] = {
        "before the rows go": ("complete", die),
        "after the rows went": ("complete", complete_and_die),
        "before the ledger hears of it": ("record", die),
    }
    method, replacement = moments[sys.argv[1]]
    setattr(FilesLoad, method, replacement)
    definitions = dg.Definitions(
        assets=[source_assets("ecommerce"), dg.AssetSpec(landing_key("ecommerce"))],
        resources={"lake": LakeResource(), LANDING_IO: LandingIOManagerFactory(storage=StorageResource())},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)


if __name__ == "__main__":
    main()
