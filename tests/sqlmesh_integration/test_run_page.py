"""What a run's page shows: where the time went, model by model, and no wall of names that are no fault."""

from __future__ import annotations

from pathlib import Path

from lakehouse_assets.sqlmesh_integration.deploy import summarize_plan
from tests.sqlmesh_integration.sandbox import Sandbox

FILES = {
    "models/one.sql": "MODEL (name marts.one, kind FULL, audits (not_null(columns := (x))));\nSELECT 1 AS x",
    "models/two.sql": "MODEL (name marts.two, kind FULL);\nSELECT x FROM marts.one",
}


def test_each_model_is_in_the_chart_of_times_and_checks_that_were_not_made_are_not_listed(tmp_path: Path) -> None:
    project = Sandbox.with_models(tmp_path, FILES)
    (backfill, _) = summarize_plan(project.project).backfills
    assert backfill.intervals == 0
    assert "as a whole" in "\n".join(summarize_plan(project.project).lines())
    (check,) = project.assets().check_specs
    assert check.blocking
    project.deploy()
    ran = project.run()
    logged = project.instance.all_logs(ran.result.run_id)
    events = [entry.dagster_event for entry in logged if entry.dagster_event]
    marks = [event.engine_event_data for event in events if event.is_engine_event]
    assert [mark.marker_start for mark in marks if str(mark.marker_start).startswith("marts")] == [
        "marts.one",
        "marts.two",
    ]
    assert [mark.marker_end for mark in marks if str(mark.marker_end).startswith("marts")] == ["marts.one", "marts.two"]
    told = [entry.user_message for entry in logged]
    assert any(line.startswith("Where the time went: marts.") for line in told)
    again = project.run()
    assert again.success
    told = [entry.user_message for entry in project.instance.all_logs(again.result.run_id)]
    assert not any("did not yield or return expected outputs" in line for line in told)
