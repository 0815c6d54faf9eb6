"""Each way to ask for a recompute, through a real Dagster (webserver, daemon, command line) and SQLMesh's own.

Each test says which days were rewritten and that no other was, by the stamp that every row carries.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES

from lakehouse_assets.sqlmesh_integration.sync import sync_partitions
from tests.ports import free_ports
from tests.sqlmesh_integration.sandbox import Sandbox, Saved, moment

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
CODE = Path(__file__).parent / "code_location.py"
DAY, GROWTH = "marts.daily_revenue", "marts.daily_growth"
ONE_RUN_AT_A_TIME = "concurrency:\n  runs:\n    max_concurrent_runs: 1\ntelemetry:\n  enabled: false\n"


@dataclass
class Served:
    """A shop with a running Dagster over it."""

    shop: Sandbox
    environment: dict[str, str]
    url: str

    def command(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.shop.folder,  # a .env of the project would win over our environment
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]

    def graphql(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url + "/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(self.environment["DAGSTER_HOME"])

    def finished_runs(self, tag: tuple[str, str], count: int) -> list[dg.DagsterRun]:
        """The runs with this tag, when that many have ended."""
        with self.instance() as instance:
            filters = dg.RunsFilter(tags=dict([tag]))

            def ended() -> list[dg.DagsterRun]:
                return [run for run in instance.get_runs(filters) if run.is_finished]

            wait_for(lambda: len(ended()) >= count, f"{count} runs with {tag} to end", seconds=600)
            runs = ended()
        assert all(run.is_success for run in runs)
        return runs

    def runs_of(self, backfill_id: str) -> list[tuple[str, str]]:
        """The first and the last day of each run of a backfill that has ended, and with it the last of its runs."""
        with self.instance() as instance:

            def is_over() -> bool:
                backfill = instance.get_backfill(backfill_id)
                return backfill is not None and backfill.status in BULK_ACTION_TERMINAL_STATUSES

            wait_for(is_over, f"the backfill {backfill_id} to end", seconds=600)  # it makes no further run then
            count = instance.get_runs_count(dg.RunsFilter(tags={"dagster/backfill": backfill_id}))
        return sorted(days_of(run) for run in self.finished_runs(("dagster/backfill", backfill_id), count))

    def rewritten(self, before: dict[str, Any], table: str = DAY) -> set[str]:
        after = self.shop.stamps(table)
        return {day for day in after if after[day] != before.get(day)}


def days_of(run: dg.DagsterRun) -> tuple[str, str]:
    """The first and the last day that a run was asked for."""
    one = run.tags.get("dagster/partition", "")
    ends = [run.tags.get(f"dagster/asset_partition_range_{end}", one) for end in ("start", "end")]
    return ends[0], ends[1]


def wait_for(is_true: Callable[[], Any], what: str, seconds: int) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.3)


@pytest.fixture(scope="module", autouse=True)
def today() -> Iterator[None]:
    """Dagster's own processes live in the present."""
    with time_machine.travel(time_machine.escape_hatch.datetime.datetime.now(UTC)):
        yield


@pytest.fixture(scope="module")
def served(saved_shop: Saved, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(saved_shop.copy, folder / "sqlmesh")
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(ONE_RUN_AT_A_TIME)
    environment = {**os.environ, "DAGSTER_HOME": str(home), "SHOP": str(folder / "sqlmesh"), "PYTHONPATH": str(ROOT)}
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster", "dev", "-f", str(CODE), "-h", "127.0.0.1", "-p", str(port)],
        cwd=home, env=environment, stdout=(folder / "dev.log").open("w"), stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    served = Served(Sandbox(folder / "sqlmesh"), environment, f"http://127.0.0.1:{port}")

    def answers() -> bool:
        assert process.poll() is None, (folder / "dev.log").read_text()[-3000:]
        try:
            return bool(served.graphql("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"))
        except OSError:
            return False

    try:
        wait_for(answers, "dagster dev", seconds=400)
        yield served
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_one_partition_from_the_command_line(served: Served) -> None:
    before, growth = served.shop.stamps(DAY), served.shop.stamps(GROWTH)
    served.command(
        "dagster",
        "asset",
        "materialize",
        "-f",
        str(CODE),
        "--select",
        "marts/daily_revenue",
        "--partition",
        "2024-01-10",
    )
    assert served.rewritten(before) == {"2024-01-10"}
    assert served.shop.stamps(GROWTH) == growth


def test_a_range_from_the_command_line_is_one_run(served: Served) -> None:
    before = served.shop.stamps(DAY)
    served.command(
        "dagster", "asset", "materialize", "-f", str(CODE), "--select", "marts/daily_revenue",
        "--partition-range", "2024-01-04...2024-01-06",
    )  # fmt: skip
    assert served.rewritten(before) == {"2024-01-04", "2024-01-05", "2024-01-06"}
    days = {f"2024-01-{day:02}" for day in (4, 5, 6)}
    (run,) = served.finished_runs(("dagster/asset_partition_range_start", "2024-01-04"), 1)
    assert days_of(run) == ("2024-01-04", "2024-01-06")
    with served.instance() as instance:
        assert days <= instance.get_materialized_partitions(dg.AssetKey(["marts", "daily_revenue"]))


def test_a_job_backfill_makes_a_run_for_each_day_whatever_an_asset_asks_for(served: Served) -> None:
    """`dagster job backfill` knows no ranges; `dagster asset materialize --partition-range` does."""
    before = served.shop.stamps(DAY)
    served.command(
        "dagster", "job", "backfill", "-f", str(CODE), "-j", "day_job", "--noprompt",
        "--from", "2024-01-20", "--to", "2024-01-21", "--tags", '{"asked": "job"}',
    )  # fmt: skip
    with served.instance() as instance:
        (backfill,) = [found for found in instance.get_backfills() if found.tags.get("asked") == "job"]
    assert served.runs_of(backfill.backfill_id) == [("2024-01-20", "2024-01-20"), ("2024-01-21", "2024-01-21")]
    assert served.rewritten(before) == {"2024-01-20", "2024-01-21"}


def test_a_backfill_from_the_web_ui_makes_one_run_for_each_contiguous_range(served: Served) -> None:
    before, growth = served.shop.stamps(DAY), served.shop.stamps(GROWTH)
    answer = served.graphql(
        """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
             __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        params={
            "assetSelection": [{"path": ["marts", "daily_revenue"]}],
            "partitionNames": ["2024-01-13", "2024-01-14", "2024-01-15", "2024-01-18"],
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    assert served.runs_of(answer["backfillId"]) == [("2024-01-13", "2024-01-15"), ("2024-01-18", "2024-01-18")]
    assert served.rewritten(before) == {"2024-01-13", "2024-01-14", "2024-01-15", "2024-01-18"}
    assert served.shop.stamps(GROWTH) == growth


def test_a_schedule_catches_up_on_what_is_missing_only(served: Served) -> None:
    served.shop.resource.mark_missing({GROWTH: [(moment("2024-01-08"), moment("2024-01-09"))]})
    before, growth = served.shop.stamps(DAY), served.shop.stamps(GROWTH)
    repository = {"repositoryLocationName": "code_location.py", "repositoryName": "__repository__"}
    state = served.graphql(
        """mutation ($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
             __typename ... on ScheduleStateResult { scheduleState { id } } ... on PythonError { message } } }""",
        selector={**repository, "scheduleName": "every_minute"},
    )["startSchedule"]
    try:
        served.finished_runs(("dagster/schedule_name", "every_minute"), 1)
    finally:
        served.graphql(
            "mutation ($id: String) { stopRunningSchedule(id: $id) { __typename } }", id=state["scheduleState"]["id"]
        )
    assert served.rewritten(before) == set()
    assert served.rewritten(growth, GROWTH) == {"2024-01-08"}


def test_sqlmeshs_own_command_line_shows_in_dagster(served: Served) -> None:
    before = served.shop.stamps(DAY)
    subprocess.run(
        [str(Path(sys.executable).with_name("sqlmesh")), "plan", "prod", "--restate-model", DAY,
         "--start", "2024-01-25", "--end", "2024-01-26", "--auto-apply", "--no-prompts", "--skip-tests"],
        cwd=served.shop.folder, check=True, capture_output=True,
    )  # fmt: skip
    assert served.rewritten(before) == {"2024-01-25", "2024-01-26"}
    with served.instance() as instance:
        synced = sync_partitions(instance, served.shop.resource, [served.shop.assets()])
        assert synced.materialized[DAY]
        for name in (DAY, GROWTH):
            days = instance.get_materialized_partitions(dg.AssetKey(name.split(".")))
            assert {"2024-01-01", "2024-01-25", "2024-01-31"} <= days
        assert not sync_partitions(instance, served.shop.resource, [served.shop.assets()])
