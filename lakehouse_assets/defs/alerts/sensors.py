"""Sensors that say when something fails, is late, or is well again: one message for each change."""

import re
from collections.abc import Sequence
from contextlib import closing

import dagster as dg
import psycopg
from dagster._core.definitions.freshness import FreshnessState

from lakehouse.lake.postgres import connect
from lakehouse.settings import Settings, load_settings, reachable
from lakehouse.upkeep.alerts.hook import send
from lakehouse.upkeep.alerts.message import Alert, masked
from lakehouse.upkeep.alerts.open import close_alert, open_alert, open_alerts
from lakehouse_assets.defs.alerts.failed_runs import (
    assets_of,
    failed_steps,
    first_sentence,
    is_well_since,
    subject_of,
    will_be_retried,
)

RUN, FRESHNESS = "run", "freshness"
LATE = {FreshnessState.WARN: "is late", FreshnessState.FAIL: "is past its freshness policy"}


@dg.run_failure_sensor(
    name="run_failure_alert_sensor",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Say which run failed, where and why. A run that fails again in the same way is not told again.",
)
def run_failure_alert_sensor(context: dg.RunFailureSensorContext) -> None:
    """One message for a run that failed and is not started again by itself."""
    settings, instance, run = load_settings(), context.instance, context.dagster_run
    if will_be_retried(run):
        return
    steps = failed_steps(instance, run.run_id) or {"": first_sentence(context.failure_event.message or "")}
    planned, unmade = assets_of(instance, run.run_id)
    failed_at = _ended(instance, run)
    if is_well_since(instance, run.job_name, planned, unmade, failed_at):
        return
    subject = subject_of(run, planned)
    text = masked("\n".join(f"{step}: {why}" if step else why for step, why in steps.items()), settings)
    # Numbers of rows and milliseconds differ from run to run.
    state = re.sub(r"\d+", "#", text)[:500]
    details = {
        "kind": RUN, "text": text, "run": run.run_id, "job": run.job_name, "planned": planned, "unmade": unmade,
        "failed_at": failed_at,
    }  # fmt: skip
    with closing(connect(settings)) as connection:
        if not open_alert(connection, settings.environment, subject, state, details):
            return
    send(
        settings,
        Alert(
            subject,
            text,
            "error",
            settings.environment,
            _run_url(settings, run.run_id),
            {"run": run.run_id[:8], **({"not made": _some(unmade)} if unmade else {})},
        ),
    )


def _ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float:
    record = instance.get_run_record_by_id(run.run_id)
    return (record.end_time if record else None) or 0.0


def _run_url(settings: Settings, run_id: str) -> str:
    return f"{_web_ui(settings)}/runs/{run_id}"


def _web_ui(settings: Settings) -> str:
    return f"http://{reachable(settings.webserver_host)}:{settings.webserver_port}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@dg.sensor(
    name="recovered_alert_sensor",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Say once when what failed is well again, whichever run did it.",
)
def recovered_alert_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """One message for each failure that somebody was told of and that is mended."""
    settings = load_settings()
    well = []
    with closing(connect(settings)) as connection:
        found = [one for one in open_alerts(connection, settings.environment) if one.details.get("kind") == RUN]
        for one in found:
            known = [one.details[name] for name in ("job", "planned", "unmade", "failed_at")]
            if is_well_since(context.instance, *known) and close_alert(connection, settings.environment, one.subject):
                well.append(one)
    for one in well:
        text = f"It is well again. It had failed since {one.since:%Y-%m-%d %H:%M} UTC."
        send(settings, Alert(one.subject, text, "recovered", settings.environment, _web_ui(settings)))
    if well:
        return dg.SkipReason(f"well again: {', '.join(one.subject for one in well)}")
    return dg.SkipReason(f"{len(found)} failures are not mended" if found else "nothing that was told of is wrong")


def freshness_alert_sensor(definitions: Sequence[dg.AssetsDefinition]) -> dg.SensorDefinition:
    """A sensor over the freshness that Dagster's daemon keeps of every asset that has a policy."""
    keys = [spec.key for one in definitions for spec in one.specs if spec.freshness_policy is not None]

    @dg.sensor(
        name="freshness_alert_sensor",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Say which assets are late or past their freshness policy, and when they are fresh again.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        settings = load_settings()
        late: dict[str, FreshnessState] = {}
        fresh: list[str] = []
        with closing(connect(settings)) as connection:
            for key, record in context.instance.get_freshness_state_records(keys).items():
                if _is_new(connection, settings.environment, key.to_user_string(), record.freshness_state):
                    if record.freshness_state in LATE:
                        late[key.to_user_string()] = record.freshness_state
                    else:
                        fresh.append(key.to_user_string())
        # One message for all of them: a daemon that was down makes every asset late at once.
        if late:
            text = "\n".join(f"{name} {LATE[state]}" for name, state in sorted(late.items()))
            level = "error" if FreshnessState.FAIL in late.values() else "warning"
            send(settings, Alert("freshness", text, level, settings.environment, _web_ui(settings)))
        if fresh:
            text = f"fresh again: {', '.join(sorted(fresh))}"
            send(settings, Alert("freshness", text, "recovered", settings.environment, _web_ui(settings)))
        if late or fresh:
            return dg.SkipReason(
                f"late: {', '.join(sorted(late)) or 'none'}; fresh again: {', '.join(fresh) or 'none'}"
            )
        return dg.SkipReason("no asset's freshness has changed")

    return sensor


def _is_new(connection: psycopg.Connection, environment: str, name: str, state: FreshnessState) -> bool:
    if state in LATE:
        return open_alert(
            connection, environment, f"freshness of {name}", state.value, {"kind": FRESHNESS, "text": LATE[state]}
        )
    if state is FreshnessState.PASS:
        return close_alert(connection, environment, f"freshness of {name}") is not None
    return False  # unknown: it was never materialized, or was wiped
