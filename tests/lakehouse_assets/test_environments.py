"""Environments over the real models: made, promoted and dropped without computing anything, under locks and marks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.head import HeadError, connect_head, rewritten
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.settings import PROJECT_ROOT
from lakehouse.writing import marks
from lakehouse.writing.environments import EnvironmentNameError, first_users
from lakehouse.writing.locks import LockTimeoutError, environment_lock, holding
from lakehouse_assets import models as models_module
from lakehouse_assets.cli import graph as cli
from lakehouse_assets.defs.environments import deploying
from lakehouse_assets.defs.environments import lifecycle as environments
from lakehouse_assets.defs.releases import pages
from lakehouse_assets.sqlmesh_integration.deploy import RefusedError
from tests.lakehouse_assets.conftest import House

pytestmark = pytest.mark.slow  # one story, in this order

EVENTS = "SELECT 300000 + i, i % 7, 'purchase', TIMESTAMP '2011-03-01' + INTERVAL (i) HOUR, 1.5 FROM range(24 * 5) t(i)"
PHYSICAL = """
    SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema LIKE 'sqlmesh__%'
"""
DAILY = "marts.daily_revenue"


@pytest.fixture(scope="module")
def filled(house: House) -> Iterator[House]:
    """The shop's events of five days, computed in prod. Afterwards prod is again what the files say."""
    house.land_events("ecommerce_events_environments.parquet", EVENTS)
    house.load_events()
    house.run("catch_up")
    yield house
    deploying.deploy(house.lake, "prod", backfill=True, run="test")
    environments.drop(house.lake, "qa", even_if_it_stays=True, run="test")


@pytest.fixture(scope="module")
def changed_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files with revenue counted double in daily_revenue."""
    folder = tmp_path_factory.mktemp("changed") / "sqlmesh_project"
    shutil.copytree(PROJECT_ROOT / "sqlmesh_project", folder, ignore=shutil.ignore_patterns(".cache", "logs", "tests"))
    file = folder / "models" / "marts" / "daily_revenue.sql"
    text = file.read_text()
    assert "THEN revenue ELSE 0" in text
    file.write_text(text.replace("THEN revenue ELSE 0", "THEN 2 * revenue ELSE 0"))
    (folder / "pages" / "mine.md").write_text("# Mine")
    return folder


@pytest.fixture
def changed_model(changed_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those files are the checked-out ones."""
    monkeypatch.setattr(models_module, "PROJECT_DIR", changed_project)


def physical_tables(house: House) -> set[str]:
    return {name for (name,) in house.rows(PHYSICAL)}


def test_a_new_environment_reads_prods_tables_and_computes_nothing(filled: House, batches: list[Any]) -> None:
    tables, stamps = physical_tables(filled), filled.computed_at()
    assert stamps
    summary = environments.create(filled.lake, "dev_eve", source="prod", run="made by eve")
    assert summary.is_new
    assert batches == []
    assert physical_tables(filled) == tables
    assert filled.computed_at("marts__dev_eve.daily_revenue") == stamps
    row = {row.info.name: row for row in environments.listing(filled.lake)}["dev_eve"]
    assert (row.source, row.deployed_by, row.info.own_models, row.is_unfinished) == ("prod", "eve", 0, False)
    assert row.info.expires_at is not None
    assert filled.marks("deploy") == []


def test_what_is_not_computed_is_not_promoted(filled: House, changed_model: None) -> None:
    environments.create(filled.lake, "qa", source="prod", run="test")
    deploying.deploy(filled.lake, "qa", backfill=False, run="test")
    with pytest.raises(RefusedError, match="marts.daily_revenue: was never computed"):
        environments.promote(filled.lake, "qa", "prod", run="test")
    assert filled.marks("deploy") == [], "a refusal leaves nothing behind"


def test_a_deploy_to_qa_computes_its_own_tables_only(filled: House, changed_model: None) -> None:
    before = filled.computed_at()
    done = deploying.deploy(filled.lake, "qa", backfill=True, run="test")
    assert {backfill.name for backfill in done.summary.backfills} == {DAILY}
    assert filled.computed_at() == before
    assert set(filled.computed_at("marts__qa.daily_revenue")) == set(before)


def test_an_unfinished_model_in_the_source_stops_a_promotion(filled: House) -> None:
    with closing(connect(filled.lake.settings)) as connection:
        marks.write(connection, "model", "qa", [DAILY], run="run 1234", snapshot=1)
        with pytest.raises(RefusedError, match="marts.daily_revenue: run 1234 did not finish it in qa"):
            environments.promote(filled.lake, "qa", "prod", run="test")
        marks.clear(connection, "model", "qa", [DAILY])


def test_a_promotion_waits_for_a_run_of_either_environment(filled: House) -> None:
    short = Lake(filled.lake.settings.model_copy(update={"lock_timeout_seconds": 0.3}))
    for name in ("prod", "qa"):
        with holding(filled.lake.settings, [environment_lock(name)], holder="run 77"):
            with pytest.raises(LockTimeoutError, match=f"environment {name} was held by lakehouse run 77"):
                environments.promote(short, "qa", "prod", run="test")


def test_a_promotion_moves_views_and_ownership_and_recomputes_nothing(filled: House, batches: list[Any]) -> None:
    tables, stamps = physical_tables(filled), filled.computed_at("marts__qa.daily_revenue")
    revenue = dict(filled.rows(f"SELECT event_date, total_revenue FROM {DAILY}"))
    promotion = environments.look("qa", "prod")
    assert [(change.name, change.change) for change in promotion.summary.changes if change.change == "modified"] == [
        (DAILY, "modified")
    ]
    assert pages.changes(filled.lake, "prod", "qa") == ["page mine is new"]
    environments.promote(filled.lake, "qa", "prod", run="promotion by eve")
    assert batches == [] and pages.changes(filled.lake, "prod", "qa") == []
    with closing(connect(filled.lake.settings)) as connection:
        newest = log.newest(connection, "prod")
    assert newest is not None and newest.pages["mine"] == "# Mine" and "page mine is new" in newest.changed
    assert physical_tables(filled) == tables
    assert filled.computed_at() == stamps
    promoted = dict(filled.rows(f"SELECT event_date, total_revenue FROM {DAILY}"))
    assert promoted == {day: 2 * amount for day, amount in revenue.items()}
    deployed = models_module.resource().deployed()[DAILY]
    assert deployed.owner == "prod"
    with closing(connect(filled.lake.settings)) as connection:
        assert first_users(connection)[deployed.physical_table] == ["qa", "prod"]
    assert filled.marks("deploy") == []
    assert environments.look("qa", "prod").summary.is_empty


def test_a_killed_promotion_leaves_its_mark_and_the_next_one_repairs_it(filled: House) -> None:
    """dev_eve still has the old daily_revenue: the views of the new one are what the kill leaves out."""
    program = (
        "import os\n"
        "from lakehouse.lake.ducklake import Lake; from lakehouse.settings import load_settings\n"
        "from lakehouse_assets.defs.environments import lifecycle as environments\n"
        "from lakehouse_assets.sqlmesh_integration.engine.plans import PlanEvaluator\n"
        "PlanEvaluator.visit_virtual_layer_update_stage = lambda *a: os.kill(os.getpid(), 9)\n"
        "environments.promote(Lake(load_settings()), 'prod', 'dev_eve', run='killed')\n"
    )
    variables = {**os.environ, **filled.environment}
    killed = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (mark,) = filled.marks("deploy")
    assert (mark.scope, mark.run) == ("dev_eve", "killed")
    assert filled.computed_at("marts__dev_eve.daily_revenue") != filled.computed_at()
    (row,) = [row for row in environments.listing(filled.lake) if row.info.name == "dev_eve"]
    assert row.is_unfinished
    with pytest.raises(RefusedError, match="the last deploy or promotion of dev_eve was cut off"):
        environments.promote(filled.lake, "dev_eve", "qa", run="test")
    assert not environments.look("prod", "dev_eve").summary.is_empty
    stale = "CREATE OR REPLACE VIEW lakehouse.marts__dev_eve.daily_revenue AS SELECT 1 AS event_date, 1 AS computed_at"
    for repair in (
        lambda: environments.promote(filled.lake, "prod", "dev_eve", run="test"),
        lambda: environments.finish(filled.lake, "dev_eve", run="test"),
    ):
        repair()
        assert filled.marks("deploy") == []
        assert filled.computed_at("marts__dev_eve.daily_revenue") == filled.computed_at()
        with closing(connect(filled.lake.settings)) as connection, closing(filled.lake.connect()) as writer:
            writer.execute(stale)  # as a kill leaves it
            marks.write(connection, "deploy", "dev_eve", run="killed", snapshot=1)
            connection.execute("UPDATE sqlmesh._environments SET finalized_ts = NULL WHERE name = 'dev_eve'")
    environments.finish(filled.lake, "dev_eve", run="test")
    assert environments.finish(filled.lake, "dev_eve", run="test") is False


def test_a_dropped_environment_leaves_no_view_no_table_and_no_row(filled: House) -> None:
    tables = physical_tables(filled)
    deploying.deploy(filled.lake, "dev_bob", backfill=True, run="test")  # the files as they are: prod has the changed
    own = physical_tables(filled)
    assert own >= tables
    environments.drop(filled.lake, "dev_bob", run="test")
    environments.drop(filled.lake, "dev_eve", run="test")
    assert (
        filled.rows(
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name SIMILAR TO '.*dev_(eve|bob)'"
        )
        == []
    )
    used = {model.physical_table for model in models_module.resource().deployed().values()}
    with closing(connect(filled.lake.settings)) as connection:
        assert not {"dev_eve", "dev_bob"} & {name for names in first_users(connection).values() for name in names}
        known = {table for (table,) in connection.execute("SELECT physical_table FROM ledger.watermarks").fetchall()}
    left = {name.replace('"', "").removeprefix("lakehouse.") for name in known}
    assert left <= physical_tables(filled)
    assert {name.replace('"', "").removeprefix("lakehouse.") for name in used} <= physical_tables(filled)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda lake: environments.look("prod", "prod"), "prod can't be promoted into itself"),
        (
            lambda lake: environments.look("dev_nobody", "prod"),
            "no environment dev_nobody. There are: .*prod, qa",
        ),
        (lambda lake: environments.look("prod", "dev_nobody"), "There is no environment dev_nobody"),
        (lambda lake: environments.create(lake, "qa", source="prod", run="t"), "There is an environment qa already"),
        (lambda lake: environments.create(lake, "dev_x", source="dev_y", run="t"), "There is no environment dev_y"),
        (lambda lake: environments.drop(lake, "prod", run="t"), "prod is not dropped"),
        (lambda lake: environments.drop(lake, "dev_nobody", run="t"), "There is no environment dev_nobody"),
    ],
)
def test_what_can_not_be_is_said_in_a_sentence(filled: House, act: Callable[[Lake], object], sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        act(filled.lake)
    assert filled.marks("deploy") == []


@pytest.mark.parametrize(
    "name", ["Dev_Ann", "dev-ann", "dev_eve; DROP", "dev_", "staging", "dev_é", "", "dev_" + "x" * 37]
)
def test_a_name_with_odd_characters_is_refused(filled: House, name: str) -> None:
    with pytest.raises(EnvironmentNameError, match="is no name for an environment"):
        environments.create(filled.lake, name, source="prod", run="test")
    with pytest.raises(EnvironmentNameError):
        deploying.plan(name)


def test_a_reader_of_one_environment_gets_its_rows_or_an_error_never_prods(filled: House) -> None:
    day = "event_date = '2011-03-02'"
    environments.create(filled.lake, "dev_eve", source="prod", run="test")
    with closing(filled.lake.connect()) as connection:  # prod's and eve's tables are told apart by a row of its own
        connection.execute(
            "CREATE OR REPLACE VIEW lakehouse.marts__dev_eve.daily_revenue AS SELECT 'eve' AS whose, 1 AS a"
        )
    with closing(connect_head(filled.lake, "dev_eve")) as connection:
        for name in ("marts.daily_revenue", "lakehouse.marts.daily_revenue", '"LAKEHOUSE"."Marts".daily_revenue'):
            sql = rewritten(f"SELECT whose, {name.split('.')[-1]}.a FROM {name}", "dev_eve")
            assert connection.execute(sql).fetchall() == [("eve", 1)]
    with closing(connect_head(filled.lake, "prod")) as connection:
        sql = rewritten(f"SELECT count(*) FROM marts.daily_revenue WHERE {day}", "prod")
        assert connection.execute(sql).fetchall() == [(1,)]
    environments.drop(filled.lake, "dev_eve", run="test")
    with closing(filled.lake.connect(read_only=True)) as connection:
        with pytest.raises(duckdb.Error, match="marts__dev_eve"):
            connection.execute(rewritten("FROM lakehouse.marts.daily_revenue", "dev_eve"))
    with pytest.raises(HeadError, match="There is no environment dev_eve"):
        connect_head(filled.lake, "dev_eve")


def told(house: House, job: str, op: str, **config: Any) -> Mapping[str, Any]:
    """Launch a job with this configuration; gives what its op's output shows."""
    result = house.run(job, run_config={"ops": {op: {"config": config}}})
    assert result.success
    (output,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


@pytest.mark.proof
def test_each_act_is_a_job_whose_result_reads_well_in_the_web_ui(filled: House) -> None:
    """prod has the changed daily_revenue by now, and the files the original."""
    made = told(filled, "env_create", "create_environment", name="dev_job")
    assert "Nothing was computed" in made["environment"]
    before = filled.computed_at()
    original = sum(filled.rows(f"SELECT sum(total_revenue) FROM {DAILY}")[0])
    assert "| `marts.daily_revenue` | modified |" in told(filled, "plan", "plan_models", environment="dev_job")["plan"]
    applied = told(filled, "deploy", "deploy_models", environment="dev_job", apply=True)
    assert applied["applied"] is True
    assert filled.computed_at() == before, "prod's table is as it was"
    found = told(filled, "diff", "diff_environments", right="dev_job", sample=1)["difference"]
    assert "| model | matched | changed | only prod | only dev_job | columns |" in found
    assert "| total_revenue | " in found
    shown = told(filled, "promote", "promote_models", source="dev_job", target="qa")
    assert (shown["applied"], "marts.daily_revenue" in shown["promotion"]) == (False, True)
    told(filled, "promote", "promote_models", source="dev_job", target="qa", apply=True)
    assert 2 * sum(filled.rows("SELECT sum(total_revenue) FROM marts__qa.daily_revenue")[0]) == original
    assert "dev_job" in told(filled, "env_drop", "drop_environment", name="dev_job")["dropped"]
    refused = filled.run(
        "promote", raise_on_error=False,
        run_config={"ops": {"promote_models": {"config": {"source": "dev_job", "target": "qa"}}}},
    )  # fmt: skip
    (failure,) = [event for event in refused.all_events if event.is_step_failure]
    described = failure.step_failure_data.user_failure_data
    assert described is not None
    assert "There is no environment dev_job" in str(described.description)


def test_the_commands_say_what_they_did_and_end_with_the_right_code(filled: House) -> None:
    def lakehouse(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200"})
        return result.exit_code, result.output

    assert lakehouse("env", "create", "dev_cli")[0] == 0
    code, said = lakehouse("env", "list")
    assert code == 0
    assert all(name in said for name in ("prod", "qa", "dev_cli", "expires in"))
    assert lakehouse("env", "create", "Dev-Cli")[0] == 2
    assert lakehouse("env", "create", "dev_cli")[0] == 1
    code, said = lakehouse("promote", "prod", "dev_cli")
    assert (code, "dev_cli has prod's models already." in said) == (0, True)
    code, said = lakehouse("diff", "prod", "dev_cli", "--json")
    assert (code, json.loads(said)["models"]) == (0, [])
    assert lakehouse("diff", "prod", "dev_cli", "no_such_model")[0] == 1
    assert lakehouse("plan", "dev_cli; DROP")[0] == 2
    code, said = lakehouse("env", "drop", "dev_cli")  # nobody answers the question
    assert (code, "Drop dev_cli" in said) == (1, True)
    assert lakehouse("env", "drop", "prod", "--yes")[0] == 1
    code, said = lakehouse("env", "drop", "dev_cli", "--yes")
    assert (code, "dev_cli is dropped, with 0 tables" in said) == (0, True)
    code, said = lakehouse("env", "drop", "--expired", "--yes")
    assert (code, "No environment has expired." in said) == (0, True)
