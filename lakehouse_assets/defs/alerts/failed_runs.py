"""What failed in a run, in a sentence, and whether it is well again since."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.tags import WILL_RETRY_TAG

DAGSTERS_OWN = "__"
"""So begin the names of the jobs that Dagster makes for assets: by hand, or by a sensor that names no job."""
SENTENCE_CHARACTERS = 600
FOLLOWING_LINES = 3
LATER_RUNS = 50


def will_be_retried(run: dg.DagsterRun) -> bool:
    """Whether Dagster starts it again by itself."""
    return run.tags.get(WILL_RETRY_TAG) == "true"


def first_sentence(text: str) -> str:
    """The first line that says something; when it announces what follows, with the lines that follow."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    end = 1
    if lines[0].endswith(":"):
        while end < len(lines) and end <= FOLLOWING_LINES and lines[end].startswith(" "):
            end += 1
    found = "\n".join(lines[:end]).strip()
    return found if len(found) <= SENTENCE_CHARACTERS else found[:SENTENCE_CHARACTERS] + " …"


def failed_steps(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """step -> why it failed. A step that failed and was tried again with success is not among them."""
    found: dict[str, str] = {}
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records:
        event = record.event_log_entry.dagster_event
        if event is None or event.step_key is None:
            continue
        data = event.step_failure_data
        described = data.user_failure_data and data.user_failure_data.description
        found[event.step_key] = first_sentence(described or _innermost(data.error) or "")
    return found


def _innermost(error: object) -> str:
    while error is not None and getattr(error, "cause", None) is not None:
        error = error.cause  # type: ignore[attr-defined]
    message = str(getattr(error, "message", ""))
    return re.sub(r"^(?:[\w]+\.)+(?=\w+(?:Error|Exception|Failure)\b)", "", message)


def assets_of(instance: dg.DagsterInstance, run_id: str) -> tuple[list[str], list[str]]:
    """The assets that the run was to make, and those of them that it did not."""
    planned = _keys(instance, run_id, PLANNED)
    return sorted(planned), sorted(planned - _keys(instance, run_id, MADE))


PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
MADE = dg.DagsterEventType.ASSET_MATERIALIZATION


def _keys(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> set[str]:
    events = (
        record.event_log_entry.dagster_event for record in instance.get_records_for_run(run_id, of_type=kind).records
    )
    return {event.asset_key.to_user_string() for event in events if event is not None and event.asset_key is not None}


def _made_well(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    """What the steps made that ended well, of a run in which another one failed."""
    kinds = {MADE, dg.DagsterEventType.STEP_SUCCESS}
    records = instance.get_records_for_run(run_id, of_type=kinds).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event) is not None]
    well = {event.step_key for event in events if event.event_type is dg.DagsterEventType.STEP_SUCCESS}
    made = [event for event in events if event.event_type is MADE and event.step_key in well]
    return {event.asset_key.to_user_string() for event in made if event.asset_key is not None}


def subject_of(run: dg.DagsterRun, assets: Iterable[str]) -> str:
    """What a message about the run is about: the job, or the assets that it was to make."""
    names = list(assets)
    if not run.job_name.startswith(DAGSTERS_OWN) or not names:
        return f"job {run.job_name}"
    return f"materialization of {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def is_well_since(
    instance: dg.DagsterInstance, job: str, planned: Iterable[str], unmade: Iterable[str], failed_at: float
) -> bool:
    """Whether all that a failed run left undone was done later, by whatever run.

    An asset that was not made is well when it was materialized, or was in a run that succeeded: nothing may have been
    due in it. One that was made by a step that failed wants a step over it that succeeds, and a run without assets its
    job.
    """
    not_made = set(unmade)
    open_assets = not_made or set(planned)
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    since = datetime.fromtimestamp(failed_at, UTC)
    later = [
        record.dagster_run
        for record in instance.get_run_records(dg.RunsFilter(statuses=ended, updated_after=since), limit=LATER_RUNS)
        if (record.end_time or 0) > failed_at
    ]
    if not open_assets:
        return any(run.job_name == job and run.is_success for run in later)
    for run in later:
        open_assets -= _keys(instance, run.run_id, PLANNED) if run.is_success else _made_well(instance, run.run_id)
    if not not_made:
        return not open_assets
    for name in sorted(open_assets):
        event = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(name))
        if event is None or event.timestamp <= failed_at:
            return False
    return True
