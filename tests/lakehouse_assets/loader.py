"""Loads the shop's events on an instance of its own: the process that a test kills."""

import dagster as dg

from lakehouse_assets.definitions import build


def main() -> None:
    """Materialize raw/ecommerce__events."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = build().resolve_job_def("ingest")
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["raw", "ecommerce__events"])])
