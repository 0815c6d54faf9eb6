"""`lakehouse doctor` finds what Dagster never notices: a silent daemon, workers that are gone, stuck pools."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat

from lakehouse import settings as settings_module
from lakehouse.lake.postgres import connect
from lakehouse.settings import PROJECT_ROOT, load_settings
from lakehouse.upkeep.doctor.checks import all_checks, examine
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Level, Result
from lakehouse_assets.doctor import CHECKS, code
from tests.databases import create_database, empty_lake
from tests.ports import free_ports


@dg.op
def nothing() -> None: ...


@dg.job
def work() -> None:
    nothing()


def look(name: str, later_seconds: float = 0.0) -> Result:
    """What one check says; the clock may be ahead."""

    class Later(Examination):
        def seconds(self) -> float:
            return super().seconds() + later_seconds

    with closing(Later(load_settings)) as examination:
        (result,) = examine(examination, [check for check in CHECKS if check.name == name])
    return result


def finding(name: str, level: Level = Level.WRONG, later_seconds: float = 0.0) -> str:
    """The whole text of the one finding."""
    result = look(name, later_seconds)
    assert result.level is level, result
    (found,) = result.findings
    return f"{found.what} | {found.where} | {found.why} | {found.do}"


@pytest.fixture(scope="module")
def instance(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An empty lake, and Dagster's instance beside it."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text((PROJECT_ROOT / "dagster_home" / "dagster.yaml").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("LAKEHOUSE_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("LAKEHOUSE_POSTGRES_URL", create_database(server_url))
        for service, port in zip(("WEBSERVER", "QUERY", "DASHBOARD"), free_ports(3), strict=True):
            patch.setenv(f"LAKEHOUSE_{service}_PORT", str(port))
        settings_module.load_settings.cache_clear()
        empty_lake(load_settings())
        assert look("daemon").line == "not looked at: Dagster has not been used yet"
        with dg.DagsterInstance.from_config(str(home)) as found:
            yield found
    settings_module.load_settings.cache_clear()


@pytest.fixture
def code_server_run(instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    """A run that counts as started, by a code server that is gone."""
    address = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": 1})}
    run = instance.create_run_for_job(work, status=dg.DagsterRunStatus.STARTED, tags=address)
    yield run
    instance.delete_run(run.run_id)


def test_checks_are_joined_by_their_entry_point() -> None:
    assert [check.name for check in all_checks()][-len(CHECKS) :] == [check.name for check in CHECKS]


def test_an_instance_where_all_is_well(instance: dg.DagsterInstance) -> None:
    assert {look(name).level for name in ("daemon", "runs", "pools")} == {Level.WELL}


def test_a_run_whose_worker_is_gone(code_server_run: dg.DagsterRun) -> None:
    said = finding("runs")
    assert f"run {code_server_run.run_id[:8]} of work counts as started, and its worker is gone" in said
    assert "python -m lakehouse_assets.instance.abandoned_runs" in said


def test_the_repair_that_is_named_mends_it(
    instance: dg.DagsterInstance, code_server_run: dg.DagsterRun, capsys: pytest.CaptureFixture[str]
) -> None:
    from lakehouse_assets.instance.abandoned_runs import main

    main()
    assert f"run {code_server_run.run_id[:8]} of work" in capsys.readouterr().out
    run = instance.get_run_by_id(code_server_run.run_id)
    assert run is not None and run.status is dg.DagsterRunStatus.FAILURE
    assert look("runs").level is Level.WELL


def test_a_run_of_a_command_line_that_is_silent_for_hours(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(work, status=dg.DagsterRunStatus.STARTED)
    assert look("runs").level is Level.WELL
    assert "was started on a command line" in finding("runs", Level.WARNING, later_seconds=7 * 3600)
    instance.delete_run(run.run_id)


def test_a_pool_whose_slot_is_held_by_a_run_that_is_over(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("sqlmesh_prod", 1)
    run = instance.create_run_for_job(work, status=dg.DagsterRunStatus.STARTED)
    storage.claim_concurrency_slot("sqlmesh_prod", run.run_id, "nothing")
    assert look("pools").level is Level.WELL
    # As a worker that was killed leaves it: over, and nothing given back.
    instance.run_storage.delete_run(run.run_id)
    said = finding("pools")
    assert "pool sqlmesh_prod is stuck" in said and "free_concurrency_slots_for_run" in said
    storage.free_concurrency_slots_for_run(run.run_id)
    assert look("pools").level is Level.WELL


def queued_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="x"), "x")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "work")
    return instance.create_run_for_job(work, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=origin)


def test_a_daemon_that_is_silent_while_runs_wait(instance: dg.DagsterInstance) -> None:
    run = queued_run(instance)
    said = finding("daemon")
    assert "no daemon has given a sign ever, and 1 runs wait" in said and "`make up`" in said
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "x", None))
    assert look("daemon").level is Level.WELL
    assert "no daemon has given a sign since 2" in finding("daemon", later_seconds=600)
    instance.delete_run(run.run_id)
    assert look("daemon", later_seconds=600).level is Level.WELL


def test_models_that_are_not_deployed_or_older_than_the_code(instance: dg.DagsterInstance) -> None:
    assert "nothing is deployed to prod" in finding("deployed", Level.WARNING)
    from lakehouse_assets.models import project

    with closing(connect(load_settings())) as connection:
        connection.execute(
            "INSERT INTO ledger.deployments (environment, content_key, code_version, plan_id, run) "
            "VALUES ('prod', 'older', 'abc123', 'x', 'test')"
        )
        said = finding("deployed", Level.WARNING)
        assert "differ from what prod has (abc123)" in said and "lakehouse deploy prod" in said
        connection.execute("UPDATE ledger.deployments SET content_key = %s", [project().content_key()])
    assert look("deployed").level is Level.WELL


def test_a_code_location_that_does_not_load_names_its_error(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module_of_ours\n")
    monkeypatch.setattr(code, "LOAD", f"exec(compile(open({str(broken)!r}).read(), {str(broken)!r}, 'exec'))")
    said = finding("code location")
    assert "No module named 'no_such_module_of_ours'" in said and str(broken) in said
