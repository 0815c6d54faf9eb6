"""What fails, is late or is well again is told once, on a real Dagster instance and to a real receiver."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from typer.testing import CliRunner

from lakehouse import settings as settings_module
from lakehouse.cli.alerts import app
from lakehouse.lake.postgres import connect
from lakehouse.settings import PROJECT_ROOT, load_settings
from lakehouse.upkeep.alerts.open import open_alerts
from lakehouse_assets.defs.alerts import sensors as alerts
from tests.databases import create_database, empty_lake
from tests.webhook import Webhook, receiving

FAILING: set[str] = set()
HOUR = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1))


def fail_if_told(name: str) -> None:
    if name in FAILING:
        raise dg.Failure(
            f"1 of 2 models failed in environment prod:\n  marts.{name}: audit not_null(x): {time.time_ns()} rows\n"
            "  at postgresql://ann:hunter2@db/lake\nReaders still see release 41.",
            allow_retries=False,
        )


@dg.asset(freshness_policy=HOUR)
def orders() -> None:
    fail_if_told("orders")


@dg.asset
def users() -> None:
    fail_if_told("users")


@dg.asset
def refusing(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    yield dg.MaterializeResult()
    fail_if_told("refusing")


@dg.op
def deploying() -> None:
    fail_if_told("deploying")


@dg.job(executor_def=dg.in_process_executor)
def deploy() -> None:
    deploying()


@dataclass
class Place:
    """A Dagster instance in PostgreSQL, with two assets, a job, and the sensors; each sensor's cursor is kept."""

    instance: dg.DagsterInstance
    definitions: dg.Definitions
    webhook: Webhook
    cursors: dict[str, str | None] = field(default_factory=dict)

    def tick(self, *names: str) -> list[str]:
        """Evaluate sensors as the daemon has it done; gives the texts of what was sent."""
        before = len(self.webhook.texts)
        for name in names or ("run_failure_alert_sensor", "recovered_alert_sensor", "freshness_alert_sensor"):
            definition = self.definitions.get_sensor_def(name)
            context = dg.build_sensor_context(
                instance=self.instance, cursor=self.cursors.get(name),
                repository_def=self.definitions.get_repository_def(), sensor_name=name,
            )  # fmt: skip
            data = definition.evaluate_tick(context)
            assert [one.error for one in data.dagster_run_reactions if one.error] == []
            self.cursors[name] = data.cursor
        return self.webhook.texts[before:]

    def run(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        """A run on this instance."""
        definition = self.definitions.resolve_job_def(job)
        return definition.execute_in_process(instance=self.instance, raise_on_error=False, **options)

    def freshness(self, state: FreshnessState) -> None:
        """Write what Dagster's freshness daemon writes when an asset's state changes."""
        self.instance._report_runless_asset_event(
            FreshnessStateChange(
                key=dg.AssetKey("orders"), new_state=state, previous_state=FreshnessState.UNKNOWN,
                state_change_timestamp=time.time(),
            )
        )  # fmt: skip


@pytest.fixture(scope="module")
def place(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text((PROJECT_ROOT / "dagster_home" / "dagster.yaml").read_text())
    with pytest.MonkeyPatch.context() as patch, receiving() as webhook:
        patch.setenv("LAKEHOUSE_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("LAKEHOUSE_POSTGRES_URL", create_database(server_url))
        patch.setenv("LAKEHOUSE_ALERT_WEBHOOK_URL", webhook.url)
        patch.setattr("lakehouse.upkeep.alerts.hook.WAITS_SECONDS", (0.0, 0.0))
        settings_module.load_settings.cache_clear()
        empty_lake(load_settings())
        definitions = dg.Definitions(
            assets=[orders, users, refusing],
            jobs=[deploy, dg.define_asset_job("both", "*", executor_def=dg.in_process_executor)],
            sensors=[
                alerts.run_failure_alert_sensor,
                alerts.recovered_alert_sensor,
                alerts.freshness_alert_sensor([orders, users]),
            ],
        )
        with dg.DagsterInstance.from_config(str(home)) as instance:
            found = Place(instance, definitions, webhook)
            assert found.tick() == []  # what happened before the sensors were on is nobody's news
            yield found
    settings_module.load_settings.cache_clear()


@pytest.fixture(autouse=True)
def _all_is_well(place: Place) -> Iterator[None]:
    yield
    FAILING.clear()
    place.run("both")
    place.run("deploy")
    place.tick()
    with closing(connect(load_settings())) as connection:
        assert open_alerts(connection) == []


def test_a_failed_run_is_told_once_with_what_failed_and_once_when_it_is_well(place: Place) -> None:
    FAILING.add("orders")
    run_id = place.run("both").run_id
    (text,) = place.tick()
    assert text.splitlines() == [
        "[error] job both in prod",
        "orders: 1 of 2 models failed in environment prod:",
        text.splitlines()[2],
        "  at postgresql://…@db/lake",
        f"run: {run_id[:8]}",
        "not made: orders",
        f"http://127.0.0.1:3000/runs/{run_id}",
    ]
    assert text.splitlines()[2].startswith("  marts.orders: audit not_null(x): ")
    place.run("both")
    assert place.tick() == place.tick() == []
    FAILING.clear()
    assert place.run("both").success
    (text,) = place.tick()
    assert text.startswith("[recovered] job both in prod\nIt is well again.")
    assert place.tick() == []


def test_a_failure_of_another_kind_is_told_again(place: Place) -> None:
    FAILING.add("orders")
    place.run("both")
    assert len(place.tick()) == 1
    FAILING.add("users")
    place.run("both")
    (text,) = place.tick()
    assert "marts.users" in text and "not made: orders, users" in text


def test_any_run_that_makes_what_was_not_made_heals_it(place: Place) -> None:
    FAILING.add("users")
    place.run("both")
    assert len(place.tick()) == 1
    FAILING.clear()
    dg.materialize([orders], instance=place.instance)
    assert place.tick() == []
    dg.materialize([users], instance=place.instance)
    (text,) = place.tick()
    assert text.startswith("[recovered] job both")


def test_assets_that_failed_after_they_were_made_want_a_run_that_succeeds(place: Place) -> None:
    def materialize() -> None:
        dg.materialize([refusing], instance=place.instance, raise_on_error=False)

    FAILING.add("refusing")
    materialize()
    (text,) = place.tick()
    assert text.startswith("[error] materialization of refusing in prod\nrefusing: ")
    materialize()
    assert place.tick() == []
    FAILING.clear()
    FAILING.add("users")
    assert not place.run("both").success  # another step of it fails: this one is well all the same
    told = place.tick()
    assert [text.split("\n")[0] for text in told] == [
        "[error] job both in prod", "[recovered] materialization of refusing in prod"
    ]  # fmt: skip


def test_what_was_well_again_before_anybody_looked_is_not_told(place: Place) -> None:
    FAILING.add("deploying")
    place.run("deploy")
    FAILING.clear()
    place.run("deploy")
    assert place.tick() == []


def test_a_run_that_is_started_again_by_itself_is_told_only_in_the_end(place: Place) -> None:
    FAILING.add("deploying")
    run = place.run("deploy")
    place.instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    assert place.tick() == []
    place.run("deploy")
    assert len(place.tick()) == 1


def test_a_run_whose_worker_is_gone_is_told_with_its_reason(place: Place) -> None:
    last = {"dagster/max_retries": "0"}  # else Dagster starts it again by itself
    run = place.instance.create_run_for_job(deploy, status=dg.DagsterRunStatus.STARTED, tags=last)
    place.instance.report_run_failed(run, "Its process ended with the services that ran it.")
    (text,) = place.tick()
    assert "Its process ended with the services that ran it." in text


def test_late_assets_are_told_when_their_state_changes(place: Place) -> None:
    place.freshness(FreshnessState.WARN)
    assert place.tick() == ["[warning] freshness in prod\norders is late\nhttp://127.0.0.1:3000"]
    assert place.tick() == []
    place.freshness(FreshnessState.FAIL)
    (text,) = place.tick()
    assert text.startswith("[error] freshness in prod\norders is past its freshness policy")
    place.freshness(FreshnessState.PASS)
    (text,) = place.tick()
    assert text.startswith("[recovered] freshness in prod\nfresh again: orders")
    assert place.tick() == []


def test_what_is_open_is_listed_and_can_be_forgotten(place: Place) -> None:
    FAILING.add("deploying")
    place.run("deploy")
    place.tick()
    done = CliRunner().invoke(app, ["alerts"])
    assert "job deploy in prod" in done.output and "deploying: 1 of 2 models failed" in done.output
    assert "hunter2" not in done.output
    assert CliRunner().invoke(app, ["alerts", "--forget", "job deploy"]).exit_code == 0
    assert "Nothing is wrong" in CliRunner().invoke(app, ["alerts"]).output
    assert CliRunner().invoke(app, ["alerts", "--forget", "job deploy"]).exit_code == 1


def test_a_receiver_that_fails_fails_no_sensor(place: Place) -> None:
    FAILING.add("deploying")
    place.run("deploy")
    place.webhook.answers = [500, 500, 500]
    assert place.tick() == []
    assert place.webhook.answers == []


def test_the_code_location_has_the_sensors_and_they_are_on() -> None:
    text = Path(PROJECT_ROOT / "lakehouse_assets" / "definitions.py").read_text()
    for sensor in ("run_failure_alert_sensor", "recovered_alert_sensor"):
        assert f"alerts.{sensor}" in text
        assert getattr(alerts, sensor).default_status is dg.DefaultSensorStatus.RUNNING
    assert "alerts.freshness_alert_sensor(" in text
