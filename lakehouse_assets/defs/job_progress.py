"""Run a job of this code location with Dagster's own command line, and show its events as they come."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.markup import escape

from lakehouse.child_environments import child_environment
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings
from lakehouse_assets.io_managers import CHANGED, UNCHANGED
from lakehouse_assets.sqlmesh_integration.markdown import read_table, text_table

POLL_SECONDS = 0.25
TAG = "lakehouse/demo"
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
DAGSTERS_OWN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} - dagster - (DEBUG|INFO) - ")


class JobFailedError(LakehouseError):
    """The run failed; the message holds its failures."""


def run_job(settings: Settings, job: str, console: Console, environment: dict[str, str]) -> None:
    """Execute the job on the project's own instance and wait for it.

    Raises:
        JobFailedError: the run did not end well.
    """
    tag = uuid.uuid4().hex
    log = settings.data_dir / "logs" / f"demo_{job}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(Path(sys.executable).parent / "dagster"), "job", "execute", "-m", "lakehouse_assets.definitions",
        "-j", job, "--tags", f'{{"{TAG}": "{tag}"}}',
    ]  # fmt: skip
    # Not in the project's folder: Dagster's command line lets a .env there override our environment.
    variables = child_environment(settings, environment)
    with open(log, "wb") as output, dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=variables, cwd=settings.data_dir)
        failures: list[str] = []
        with console.status(f"Dagster runs the job {job} …") as status:
            for line in _told(instance, tag, process, failures):
                status.update(f"{job}: {escape(line.splitlines()[0])}")
                console.print(f"  [dim]{escape(line)}[/dim]", highlight=False)
    if process.returncode != 0:
        reason = "\n".join(failures) or _last_words(log.read_text(errors="replace"))
        raise JobFailedError(f"The job {job} failed; its whole log is {log}.\n{reason}")


def _last_words(text: str) -> str:
    """The end of a log, without what Dagster tells of itself and without colours."""
    lines = [line for line in COLOURS.sub("", text).splitlines() if not DAGSTERS_OWN.match(line)]
    return "\n".join(lines)[-2000:]


def _told(
    instance: dg.DagsterInstance, tag: str, process: subprocess.Popen[bytes], failures: list[str]
) -> Iterator[str]:
    """A line for each event worth one, until the process ends."""
    cursor, run_id, ended = None, None, False
    while not ended:
        try:
            process.wait(POLL_SECONDS)
            ended = True
        except subprocess.TimeoutExpired:
            pass
        if run_id is None:
            runs = instance.get_runs(dg.RunsFilter(tags={TAG: tag}), limit=1)
            run_id = runs[0].run_id if runs else None
        if run_id is None:
            continue
        connection = instance.get_records_for_run(run_id, cursor=cursor)
        cursor = connection.cursor
        for record in connection.records:
            yield from _lines(record.event_log_entry, failures)


def _lines(entry: dg.EventLogEntry, failures: list[str]) -> Iterator[str]:
    event = entry.dagster_event
    if event is None:
        if any(word in entry.user_message for word in ("page", "repairing", "waiting for")):
            yield entry.user_message
    elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            told = {name: str(value.value) for name, value in evaluation.metadata.items()}
            name = f"{evaluation.asset_key.to_user_string()}: check {evaluation.check_name} failed"
            sample = text_table(*read_table(told["sample"])) if "sample" in told else ""
            query = told.get("query", "").removeprefix("```sql\n").removesuffix("\n```")
            yield "\n".join(filter(None, [name, sample, query]))
    elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.partition is None:
        metadata = event.step_materialization_data.materialization.metadata
        if CHANGED in metadata and metadata[CHANGED].value == UNCHANGED:
            return
        rows = metadata.get("dagster/row_count")
        name = event.asset_key.to_user_string() if event.asset_key else "?"
        yield f"{name}: {rows.value:,} rows" if rows else name
    elif event.is_step_failure:
        described = event.step_failure_data.user_failure_data
        error = event.step_failure_data.error
        failures.append(
            (described and described.description) or (error.message.strip() if error else "no reason given")
        )
