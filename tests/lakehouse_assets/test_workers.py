"""Runs on workers: a real broker, real workers, Dagster's own daemon; whoever dies, each run is done once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._cli.job import _create_run
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import RETRY_NUMBER_TAG
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import PythonFileTarget
from pydantic import SecretStr

from lakehouse.lake.postgres import connect
from lakehouse.settings import PROJECT_ROOT, Settings, load_settings
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Seen
from lakehouse.writing.locks import held, run_lock
from lakehouse_assets.doctor.running import workers
from lakehouse_assets.instance.workers import GIVEN_TAG, WorkersError, answering
from tests.databases import create_database, empty_lake
from tests.lakehouse_assets.conftest import lived_in
from tests.lakehouse_instance import TOOLS
from tests.ports import free_ports

REDIS = shutil.which("redis-server")
PATIENCE_SECONDS = 180
JOBS = """
import os, time
from pathlib import Path
import dagster as dg

HERE = Path(__file__).parent

@dg.op
def step(context):
    name = context.run.tags["name"]
    with open(HERE / f"{name}.begun", "a") as begun:
        begun.write(f"{os.getpid()}\\n")
    while not (HERE / f"{name}.go").exists():
        time.sleep(0.05)
    with open(HERE / f"{name}.done", "a") as done:
        done.write("done\\n")

@dg.job(executor_def=dg.in_process_executor)
def work():
    step()

defs = dg.Definitions(jobs=[work])
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REDIS is None, reason="there is no redis-server: Debian's package redis-server has it"),
]


@dg.job
def own() -> None: ...


def until(what: Callable[[], object], told: Callable[[], str] = lambda: "") -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


@dataclass
class Cluster:
    """A broker, a daemon and workers, over one lake."""

    folder: Path
    environment: dict[str, str]
    port: int
    instance: dg.DagsterInstance
    workspace: WorkspaceRequestContext
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        """Start a process, with its group, so that killing it kills what it has started or leaves it alone."""
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env={**os.environ, **self.environment}, cwd=self.folder, stdout=log, stderr=log
            )

    def start_broker(self) -> None:
        self.start("broker", str(REDIS), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", ".")

    def start_worker(self, name: str) -> None:
        self.start(name, str(TOOLS / "lakehouse"), "worker", "--slots", "1")

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def launch(self, name: str) -> str:
        """Queue a run as `dagster job launch` does; gives its id."""
        (location,) = self.workspace.code_locations
        (repository,) = location.get_repositories().values()
        run = _create_run(
            self.instance, location, repository, repository.get_full_job("work"), {}, {"name": name}, None, None
        )
        self.instance.submit_run(run.run_id, self.workspace)
        return run.run_id

    def begun(self, name: str) -> list[int]:
        """The processes that began it."""
        file = self.folder / f"{name}.begun"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()

    def is_done_once(self, name: str) -> bool:
        file = self.folder / f"{name}.done"
        return file.exists() and file.read_text() == "done\n"

    def statuses(self, name: str) -> dict[str, str]:
        """Of the run and those that repeat it: number of the retry → status."""
        runs = self.instance.get_runs(dg.RunsFilter(tags={"name": name}))
        return {run.tags.get(RETRY_NUMBER_TAG, "0"): run.status.value for run in runs}

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in self.folder.glob("*.log"))

    def wait(self, name: str, statuses: dict[str, str]) -> None:
        until(lambda: self.statuses(name) == statuses, lambda: f"{self.statuses(name)}\n{self.logs()}")

    def wait_begun(self, name: str, times: int = 1) -> None:
        until(lambda: len(self.begun(name)) == times, lambda: f"{self.begun(name)}\n{self.logs()}")


@contextmanager
def started(server_url: str, folder: Path) -> Iterator[Cluster]:
    (port,) = free_ports(1)
    environment = {
        "LAKEHOUSE_DATA_DIR": str(folder / "data"), "LAKEHOUSE_POSTGRES_URL": create_database(server_url),
        "LAKEHOUSE_WORKERS": "celery", "LAKEHOUSE_BROKER_URL": f"redis://127.0.0.1:{port}/0",
    }  # fmt: skip
    (folder / "home").mkdir()
    shutil.copy(PROJECT_ROOT / "dagster_home" / "dagster.yaml", folder / "home")
    (folder / "jobs.py").write_text(JOBS)
    with ExitStack() as stack:
        settings: Settings = stack.enter_context(lived_in(environment))
        empty_lake(settings)
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(folder / "home")))
        jobs = PythonFileTarget(str(folder / "jobs.py"), None, None, None)
        workspace = stack.enter_context(WorkspaceProcessContext(instance, jobs)).create_request_context()
        cluster = Cluster(folder, environment | {"DAGSTER_HOME": str(folder / "home")}, port, instance, workspace)
        try:
            cluster.start_broker()
            cluster.start("daemon", str(TOOLS / "dagster-daemon"), "run", "-f", str(folder / "jobs.py"))
            cluster.start_worker("ann")
            cluster.start_worker("bob")
            yield cluster
        finally:
            for process in cluster.processes.values():
                process.send_signal(signal.SIGTERM)
            for process in cluster.processes.values():
                process.wait(60)


@pytest.fixture(scope="module")
def cluster(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(server_url, tmp_path_factory.mktemp("cluster")) as running:
        yield running


def test_runs_are_shared_out_and_end_well(cluster: Cluster) -> None:
    for name in ("first", "second"):
        cluster.launch(name)
    for name in ("first", "second"):
        cluster.wait_begun(name)
    # Each worker has one slot, so each has one of them, in a process of its own.
    workers = {cluster.processes["ann"].pid, cluster.processes["bob"].pid}
    assert {psutil.Process(*cluster.begun(name)).ppid() for name in ("first", "second")} == workers
    for name in ("first", "second"):
        cluster.go(name)
        cluster.wait(name, {"0": "SUCCESS"})
        assert cluster.is_done_once(name)


def test_a_killed_run_is_noticed_and_done_by_whoever_is_free(cluster: Cluster) -> None:
    cluster.launch("killed")
    cluster.wait_begun("killed")
    os.kill(*cluster.begun("killed"), signal.SIGKILL)
    cluster.go("killed")
    cluster.wait("killed", {"0": "FAILURE", "1": "SUCCESS"})
    assert cluster.is_done_once("killed") and len(set(cluster.begun("killed"))) == 2


def test_a_run_of_a_command_line_is_nobodys_to_judge(cluster: Cluster) -> None:
    launcher = cluster.instance.run_launcher
    run = cluster.instance.create_run_for_job(own, status=dg.DagsterRunStatus.STARTED)
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    cluster.instance.add_run_tags(run.run_id, {GIVEN_TAG: "workers"})
    given = cluster.instance.get_run_by_id(run.run_id)
    assert given is not None and launcher.check_run_worker_health(given).status is WorkerStatus.FAILED
    cluster.instance.delete_run(run.run_id)


def test_a_worker_that_dies_takes_no_run_along_nor_does_a_lost_connection(cluster: Cluster) -> None:
    run = cluster.launch("orphan")
    cluster.wait_begun("orphan")
    with closing(connect(load_settings())) as connection:
        (holder,) = held(connection, [run_lock(run)])
        connection.execute("SELECT pg_terminate_backend(%s)", [holder.pid])
        until(lambda: [one.pid for one in held(connection, [run_lock(run)])] not in ([], [holder.pid]), cluster.logs)
    process = psutil.Process(*cluster.begun("orphan"))
    name = next(name for name in ("ann", "bob") if cluster.processes[name].pid == process.ppid())
    cluster.kill(name)
    cluster.go("orphan")
    cluster.wait("orphan", {"0": "SUCCESS"})
    assert cluster.is_done_once("orphan")
    cluster.start_worker(name)


def test_a_canceled_run_ends_and_one_that_nobody_has_begun_never_begins(cluster: Cluster) -> None:
    for name in ("busy", "busy too", "waiting"):
        cluster.launch(name)
    until(lambda: cluster.statuses("waiting") == {"0": "STARTING"}, cluster.logs)
    for name in ("busy", "busy too"):
        cluster.wait_begun(name)
    (waiting,) = cluster.instance.get_runs(dg.RunsFilter(tags={"name": "waiting"}))
    (busy,) = cluster.instance.get_runs(dg.RunsFilter(tags={"name": "busy"}))
    assert cluster.instance.run_launcher.terminate(waiting.run_id)
    assert cluster.instance.run_launcher.terminate(busy.run_id)
    cluster.wait("waiting", {"0": "CANCELED"})
    cluster.wait("busy", {"0": "CANCELED"})
    cluster.go("busy too")
    cluster.wait("busy too", {"0": "SUCCESS"})
    cluster.launch("after")  # behind `waiting` in the broker's queue
    cluster.wait_begun("after")
    cluster.go("after")
    assert cluster.begun("waiting") == []


def test_a_broker_that_never_answers_is_told_without_its_password(cluster: Cluster) -> None:
    away = {"broker_url": SecretStr("redis://:geheim@127.0.0.1:1/0")}
    with pytest.raises(WorkersError, match="^the broker can't be reached: [A-Za-z]+$"):
        answering(load_settings().model_copy(update=away))


def seen() -> Seen:
    """What `lakehouse doctor` says of the workers."""
    with closing(Examination(load_settings)) as examination:
        return workers(examination)


def test_a_broker_that_is_away_is_waited_for(cluster: Cluster) -> None:
    until(lambda: "2 answer: " in seen().line and not seen().findings, cluster.logs)
    cluster.kill("broker")
    run_id = cluster.launch("patient")
    until(lambda: cluster.statuses("patient") == {"0": "STARTING"}, cluster.logs)  # the daemon tries to give it away
    (finding,) = seen().findings
    assert "the broker can't be reached" in finding.what
    cluster.start_broker()
    cluster.wait_begun("patient")
    # A message that comes twice begins nothing twice.
    again = subprocess.run(
        [sys.executable, "-m", "lakehouse_assets.instance.run_process", run_id],
        env={**os.environ, **cluster.environment}, cwd=cluster.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (again.returncode, "is at work in another process" in again.stdout) == (0, True), again.stderr
    cluster.go("patient")
    cluster.wait("patient", {"0": "SUCCESS"})
    assert len(cluster.begun("patient")) == 1 and cluster.is_done_once("patient")
