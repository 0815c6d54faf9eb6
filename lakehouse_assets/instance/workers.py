"""Runs on many hosts: Celery's broker holds who is next, a worker starts a process for it, PostgreSQL knows who lives.

Dagster's queue says which runs begin (pools, priorities, how many at once); the broker only carries their ids. A run's
process holds a lock of its own in PostgreSQL for as long as it lives. So nobody needs to hear from a worker that it
died, and a message that the broker delivers twice starts nothing twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

from dagster import DagsterRun, DagsterRunStatus
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus

from lakehouse.child_environments import child_environment
from lakehouse.errors import LakehouseError
from lakehouse.lake import ledger
from lakehouse.lake.postgres import connect
from lakehouse.settings import Settings, load_settings
from lakehouse.writing.locks import held, run_lock
from lakehouse_assets.instance.run_process import LOOK_SECONDS

if TYPE_CHECKING:
    from celery import Celery

TASK = "lakehouse.run"
GIVEN_TAG = "lakehouse/given_to"
"""On runs that workers execute; those of a command line end with their command."""
BROKER_TRIES = 30
"""About a minute and a half in which a broker may be away without a run failing for it."""
REDELIVERED_SECONDS = 60
"""When Redis gives a message to another worker because the one that took it is silent."""
AGAIN_SECONDS = 2 * LOOK_SECONDS
"""After which a process that lives has its lock again, should PostgreSQL have been restarted."""


class WorkersError(LakehouseError):
    """Workers can't be used as they are set up; the message says what to do."""

    exit_code = 2


@cache
def broker(settings: Settings) -> Celery:
    """The Celery app whose one task runs a run. Its queue is this lake's own, though others may share the broker.

    Raises:
        WorkersError: no broker is set.
        LedgerError: there is no lake yet.
    """
    from celery import Celery

    url = settings.broker_url.get_secret_value()
    if not url:
        raise WorkersError("LAKEHOUSE_WORKERS is celery, so LAKEHOUSE_BROKER_URL must say where: redis://host:6379/0.")
    with closing(connect(settings)) as connection:
        ledger.require(connection)
        queue = f"lakehouse-{ledger.lake_id(connection)}"
    app = Celery("lakehouse", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # who is busy takes no run that another could begin
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"visibility_timeout": REDELIVERED_SECONDS},
    )
    app.task(name=TASK)(run_in_process)
    return app


def run_in_process(run_id: str) -> None:
    """Execute a run in a process of its own, as Dagster does on one machine, and wait for it."""
    command = [sys.executable, "-m", "lakehouse_assets.instance.run_process", run_id]
    settings = load_settings()
    # Not in the project's folder: Dagster's command line lets a .env there override our environment.
    process = subprocess.Popen(command, env=child_environment(settings), cwd=settings.data_dir, start_new_session=True)
    process.wait()  # a session of its own: a worker's Ctrl-C waits for the run, and does not end it


def work(settings: Settings, slots: int) -> None:
    """Take runs from the broker, `slots` at once, until Ctrl-C or SIGTERM; then those at work are waited for."""
    app = broker(settings)
    app.worker_main(
        [
            "worker", "--pool", "threads", "--concurrency", str(slots), "--loglevel", "INFO",
            "--without-gossip", "--without-mingle", "--hostname", f"{os.getpid()}@%h",
        ]
    )  # fmt: skip


def answering(settings: Settings, timeout_seconds: float = 2.0) -> list[str]:
    """The names of the workers that answer: `pid@host`.

    Raises:
        WorkersError: the broker can't be asked.
    """
    from kombu.exceptions import OperationalError

    app = broker(settings)
    queue = app.conf.task_default_queue
    try:
        listening = app.control.inspect(timeout=timeout_seconds).active_queues() or {}
    except (OperationalError, *app.connection_for_read().connection_errors) as error:
        raise WorkersError(f"the broker can't be reached: {type(error).__name__}") from None
    return sorted(name for name, queues in listening.items() if any(one["name"] == queue for one in queues))


class WorkersRunLauncher(RunLauncher):
    """Gives runs to workers."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put it into the broker's queue."""
        patiently = {"max_retries": BROKER_TRIES, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 3.0}
        app = broker(load_settings())
        self._instance.add_run_tags(context.dagster_run.run_id, {GIVEN_TAG: "workers"})
        app.send_task(TASK, [context.dagster_run.run_id], retry=True, retry_policy=patiently)
        self._instance.report_engine_event("Given to the workers.", context.dagster_run, cls=self.__class__)

    def terminate(self, run_id: str) -> bool:
        """Ask its process to end, which looks at its run's state every few seconds."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or GIVEN_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        if not lives(run):  # nobody has begun it: a worker that takes it sees that it is not wanted any more
            self._instance.report_run_canceled(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Of a run that has started."""
        if GIVEN_TAG not in run.tags or run.status is not DagsterRunStatus.STARTED or lives(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        time.sleep(AGAIN_SECONDS)
        if lives(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone, and with it the lock that it held")


def lives(run: DagsterRun) -> bool:
    """Whether some process on some host holds the run's lock."""
    with closing(connect(load_settings())) as connection:
        return bool(held(connection, [run_lock(run.run_id)]))
