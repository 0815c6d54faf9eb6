"""A sensor that tells of ended runs: beside them, so that no run waits for it or fails by it."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from lakehouse.lake.ducklake import Lake
from lakehouse.settings import Settings, load_settings
from lakehouse.upkeep.alerts.message import masked

RUNS, SECONDS = 20, 5.0
REMEMBERED = 200
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
REFUSED = {400, 409, 413, 415, 422}
"""The address is well, and will never take this event."""


@dg.sensor(
    name="openlineage_sensor",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tell LAKEHOUSE_OPENLINEAGE what each ended run has read and written.",
)
def openlineage_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """The events of runs that ended since the last look, the oldest first; those that can't be sent wait."""
    settings = load_settings()
    cursor: dict[str, Any] = {"since": datetime.now(UTC).isoformat(), "told": []}
    cursor |= json.loads(context.cursor or "{}")
    since = datetime.fromisoformat(cursor["since"])
    waiting = context.instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, updated_after=since), limit=RUNS, order_by="update_timestamp", ascending=True
    )
    sent, problem = 0, ""
    if waiting:
        from lakehouse_assets.defs.openlineage.events import Catalogue

        transport, known = transport_of(settings), Catalogue.read(Lake(settings), settings.environment)
    for record in waiting:
        run_id = record.dagster_run.run_id
        if run_id not in cursor["told"]:
            problem = _tell(context, transport, settings, record, known)
            if problem:
                break
            cursor["told"] = [*cursor["told"], run_id][-REMEMBERED:]
            sent += 1
        cursor["since"] = record.update_timestamp.replace(tzinfo=record.update_timestamp.tzinfo or UTC).isoformat()
    if problem and not cursor.get("is_away"):
        context.log.warning(f"LAKEHOUSE_OPENLINEAGE takes no events ({problem}): they wait, and are sent when it does.")
    cursor["is_away"] = bool(problem)
    context.update_cursor(json.dumps(cursor))
    return dg.SkipReason(f"it takes no events: {problem}" if problem else f"told of {sent} runs")


def transport_of(settings: Settings) -> Any:
    """The client's transport: POST to an address (`/api/v1/lineage` where it names no path), or lines of a file."""
    target = settings.openlineage
    if "://" not in target:
        from openlineage.client.transport.file import FileConfig, FileTransport

        return FileTransport(FileConfig(log_file_path=target, append=True))
    from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport

    parts = urlsplit(target)
    key = settings.openlineage_api_key.get_secret_value()
    more: dict[str, Any] = {"auth": ApiKeyTokenProvider({"apiKey": key})} if key else {}
    more |= {"endpoint": parts.path.lstrip("/")} if parts.path.strip("/") else {}
    retry = {"total": 0, "allowed_methods": ["POST"]}  # the next look tries again
    return HttpTransport(HttpConfig(f"{parts.scheme}://{parts.netloc}", timeout=SECONDS, retry=retry, **more))


def _tell(
    context: dg.SensorEvaluationContext, transport: Any, settings: Settings, record: dg.RunRecord, known: Any
) -> str:
    """Send a run's events. Gives why they can't be sent now; what is refused for good is warned of and left out."""
    from lakehouse_assets.defs.openlineage.events import events_of

    for event in events_of(context.instance, record, known, lambda text: masked(text, settings)):
        try:
            transport.emit(event)
        except Exception as error:  # whatever the client, its libraries or the address raise
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status not in REFUSED:
                return f"it answers {status}" if status else type(error).__name__
            context.log.warning(f"LAKEHOUSE_OPENLINEAGE refuses ({status}) an event of {event.job.name}: left out.")
    return ""
