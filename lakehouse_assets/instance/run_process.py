"""One run in this process, which a worker started for it: `python -m lakehouse_assets.instance.run_process RUN_ID`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import closing

import dagster as dg
import psycopg
from dagster._cli.api import _execute_run_command_body

from lakehouse.lake.postgres import connect
from lakehouse.settings import Settings, load_settings
from lakehouse.writing.locks import run_lock, try_lock

LOOK_SECONDS = 3.0
PATIENCE_SECONDS = 30.0
"""How long a run that is to end may take for it."""
WAITING = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
UNWANTED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
# PostgreSQL gives a lock back as soon as it knows that the host is gone: after twelve seconds of silence.
SEEN_TO_LIVE = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3"


def main(run_id: str) -> int:
    """0 when the run ended well or is somebody else's or nobody's any more."""
    settings = load_settings()
    with dg.DagsterInstance.get() as instance, closing(_holder(settings, run_id)) as holder:
        if try_lock(holder, run_lock(run_id)) is not None:
            print(f"run {run_id[:8]} is at work in another process: the broker gave it out twice")
            return 0
        run = instance.get_run_by_id(run_id)
        if run is None or run.status not in WAITING:
            print(f"run {run_id[:8]} is {run.status.value.lower() if run else 'unknown'}: nothing to begin")
            return 0
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(settings, instance, run_id, holder, ended), daemon=True)
        watch.start()
        try:
            return _execute_run_command_body(run_id, instance, lambda _: None, set_exit_code_on_failure=True)
        finally:
            ended.set()
            watch.join()


def _holder(settings: Settings, run_id: str) -> psycopg.Connection:
    connection = connect(settings)
    connection.execute("SELECT set_config('application_name', %s, false)", [f"lakehouse run {run_id[:8]}"])
    connection.execute(SEEN_TO_LIVE)
    return connection


def _watch(
    settings: Settings, instance: dg.DagsterInstance, run_id: str, holder: psycopg.Connection, ended: threading.Event
) -> None:
    """Keep the lock while the server restarts, and end this process when its run is given up or canceled."""
    again: psycopg.Connection | None = None
    unwanted_for = 0.0
    while not ended.wait(LOOK_SECONDS):
        try:
            (again or holder).execute("SELECT 1")
            run = instance.get_run_by_id(run_id)
        except Exception:  # the server is away; whoever asks meanwhile can't ask it for the lock either
            again = _taken_again(settings, run_id) or again
            continue
        if run is None or run.status not in UNWANTED:
            continue
        if not unwanted_for:
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C: what is half done is undone, and the run says so
        unwanted_for += LOOK_SECONDS
        if unwanted_for > PATIENCE_SECONDS:
            os._exit(1)
    if again is not None:
        again.close()


def _taken_again(settings: Settings, run_id: str) -> psycopg.Connection | None:
    try:
        connection = _holder(settings, run_id)
        try_lock(connection, run_lock(run_id))
    except Exception:
        return None
    return connection


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
