"""Asking in this process: workers outlive the threads that asked, and end with their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from lakehouse.query.client.local import LocalClient
from lakehouse.query.engine.problems import QueryError
from lakehouse.settings import PROJECT_ROOT, Settings


def test_a_worker_outlives_the_thread_that_started_it(released: Settings) -> None:
    with LocalClient(released, workers=1) as client:
        asking = threading.Thread(target=client.query, args=("SELECT 1 AS one",))
        asking.start()
        asking.join()
        (worker,) = client.service.pool._idle
        time.sleep(0.2)
        assert worker.is_alive
        assert client.query("SELECT 2 AS two").warm
        assert client.service.pool.restarts == 0


@pytest.mark.slow
def test_workers_of_a_killed_owner_end_in_the_middle_of_a_statement(released: Settings) -> None:
    script = f"""
import sys, threading
from pathlib import Path
from lakehouse.query.client.local import LocalClient
from lakehouse.settings import Settings
client = LocalClient(Settings(data_dir=Path({str(released.data_dir)!r}), threads=1))
client.query("SELECT 1")
print(client.service.pool._idle[0].pid, flush=True)
client.query("SELECT sum(a.i * b.i) FROM range(1000000) a(i), range(1000000) b(i)")
"""
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    worker = psutil.Process(int(owner.stdout.readline()))
    before = worker.cpu_times().user
    while worker.cpu_times().user < before + 0.3:
        time.sleep(0.05)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_statement_that_cost_a_worker_costs_no_second_one(released: Settings) -> None:
    settings = released.model_copy(update={"query_seconds": 1})
    endless = "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))"  # DuckDB can't be interrupted in it
    with LocalClient(settings) as client:
        for told in ("stopped after 1 seconds", "not tried again for 5 minutes", "not tried again for 5 minutes"):
            with pytest.raises(QueryError, match=told) as caught:
                client.query(endless)
            assert caught.value.kind == "time-limit"
        assert client.query("SELECT 1").rows == 1
        assert client.service.pool.restarts == 1
