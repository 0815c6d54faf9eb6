"""Fail the runs whose code server is gone, and name them: `python -m lakehouse_assets.instance.abandoned_runs`.

A run that `make up` started dies with it. Dagster's default launcher never notices (1.13.27): the run would count as
started for ever and keep the slot of its pool, so that no later run of that source or of the models ever begins.
"""

from __future__ import annotations

import json

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
REASON = "Its process ended with the services that ran it. Launch it again: it repairs what is half done."


def server_answers(run: dg.DagsterRun) -> bool:
    """Whether the code server that runs it is alive: `dagster dev` in another terminal may have its own."""
    address = json.loads(run.tags[GRPC_INFO_TAG])
    client = DagsterGrpcClient(host=address.get("host"), port=address.get("port"), socket=address.get("socket"))
    try:
        client.ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def main() -> None:
    """Only runs that a code server started: those of the command line carry no address and end with their command."""
    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=AT_WORK)):
            if GRPC_INFO_TAG in run.tags and not server_answers(run):
                instance.report_run_failed(run, REASON)
                print(f"run {run.run_id[:8]} of {run.job_name} was at work when the services ended: marked failed")


if __name__ == "__main__":
    main()
