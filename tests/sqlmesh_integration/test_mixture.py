"""A SQLMesh project with a bit of everything, as somebody else might have written it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_assets.sqlmesh_integration.outcome import ModelOutcome
from tests.sqlmesh_integration.sandbox import Sandbox, Saved, moment

Computed = tuple[Saved, dict[str, ModelOutcome]]
ROOT = Path(__file__).parents[2]
CODE = Path(__file__).parent / "code_location.py"
EVENTS = """
    CREATE SCHEMA "raw-zone";
    CREATE TABLE "raw-zone"."click-events" AS
    SELECT n AS id, n % 7 AS user_id, TIMESTAMP '2024-01-01' + INTERVAL 20 MINUTE * n AS at,
           ['home', 'cart', 'help'][n % 3 + 1] AS page
    FROM range(200) AS numbers(n)
"""


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Computed:
    mixture = Sandbox.of("mixture", tmp_path_factory.mktemp("mixture"))
    mixture.execute(EVENTS)
    mixture.deploy()
    ran = mixture.run()
    assert ran.success, ran.failure
    return Saved.of(mixture), dict(ran.outcomes)


@pytest.fixture
def mixture(computed: Computed) -> Sandbox:
    return computed[0].put_back()


def test_every_kind_is_computed(computed: Computed, mixture: Sandbox) -> None:
    states = {name: outcome.state for name, outcome in computed[1].items()}
    assert states.pop("marts.gated_clicks") == "not_ready"
    assert set(states.values()) == {"computed"}
    assert mixture.query('SELECT SUM(clicks) FROM "web-marts"."hourly-clicks"') == [(144,)]
    assert mixture.query("SELECT clicks FROM marts.monthly_clicks") == [(200,)]
    assert mixture.query("SELECT * FROM marts.python_totals") == [(3, 200)]
    assert mixture.query("SELECT title FROM marts.titles ORDER BY 1") == [("Cart",), ("Home",)]
    assert mixture.query("SELECT COUNT(*) FROM marts.latest_by_user") == [(7,)]


def test_names_with_hyphens_are_assets(mixture: Sandbox) -> None:
    spec = mixture.assets().specs_by_key[dg.AssetKey(["web-marts", "hourly-clicks"])]
    assert isinstance(spec.partitions_def, dg.TimeWindowPartitionsDefinition)
    assert spec.partitions_def.cron_schedule == "0 * * * *"
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["raw-zone", "click-events"])]


AROUND = """
    INSERT INTO "raw-zone"."click-events"
    VALUES (901, 1, '2023-11-30 23:59:59', 'home'), (902, 1, '2023-12-01 00:00', 'home'),
           (903, 1, '2023-12-31 23:59:59', 'home'), (904, 1, '2024-02-01 00:00', 'home')
"""


@pytest.mark.parametrize(
    ("table", "column", "requests"),
    [
        (
            "web-marts.hourly-clicks",
            "at_hour",
            {
                ("2024-01-01-05:00", "2024-01-01-05:00"): {"2024-01-01 05:00:00"},
                ("2024-01-01-22:00", "2024-01-02-00:00"): {
                    "2024-01-01 22:00:00", "2024-01-01 23:00:00", "2024-01-02 00:00:00",
                },
            },
        ),
        (
            "marts.monthly_clicks",
            "month",
            {
                ("2024-01-01", "2024-01-01"): {"2024-01-01"},
                ("2023-12-01", "2024-01-01"): {"2023-12-01", "2024-01-01"},
            },
        ),
    ],
    ids=["hours", "months"],
)  # fmt: skip
def test_hours_and_months_are_recomputed_and_their_neighbours_are_not(
    mixture: Sandbox, table: str, column: str, requests: dict[tuple[str, str], set[str]]
) -> None:
    mixture.execute(AROUND)
    assert mixture.run("marts.monthly_clicks", config={"mode": "recompute"}).success
    quoted = ".".join(f'"{part}"' for part in table.split("."))
    for ends, rewritten in requests.items():
        before = mixture.stamps(quoted, column)
        assert len(before) > len(rewritten)
        ran = mixture.run(table, partitions=ends, by_hand=True)
        after = mixture.stamps(quoted, column)
        assert ran.success and set(after) == set(before)
        assert {start for start in after if after[start] != before[start]} == rewritten
        assert len(ran.outcomes[table].rows) == len(rewritten)


def test_the_same_audit_twice_is_two_checks(mixture: Sandbox) -> None:
    names = {check.name for check in mixture.assets().check_specs}
    assert {"small_enough_most_50", "small_enough_most_60", "inline_positive"} <= names


@pytest.mark.slow
def test_a_signal_opens_a_model(tmp_path: Path) -> None:
    mixture = Sandbox.of("mixture", tmp_path)
    gate = tmp_path / "gate"
    model = mixture.folder / "models" / "gated.sql"
    model.write_text(model.read_text().replace("@VAR('gate', '/nowhere')", f"'{gate}'"))
    mixture.execute(EVENTS)
    mixture.deploy()
    assert mixture.run("marts.gated_clicks").outcomes["marts.gated_clicks"].state == "not_ready"
    gate.touch()
    assert mixture.run("marts.gated_clicks").outcomes["marts.gated_clicks"].state == "computed"
    assert mixture.query("SELECT COUNT(*) FROM marts.gated_clicks") == [(3,)]


def test_a_model_that_keeps_history_is_not_recomputed_and_says_why(mixture: Sandbox) -> None:
    before = mixture.query("SELECT * FROM marts.users_over_time ORDER BY 1")
    ran = mixture.run("marts.users_over_time", by_hand=True, config={"mode": "recompute"})
    assert "keeps its history and is never recomputed" in ran.failure
    assert mixture.query("SELECT * FROM marts.users_over_time ORDER BY 1") == before


def test_new_rows_reach_models_of_every_kind(mixture: Sandbox) -> None:
    mixture.execute("""INSERT INTO "raw-zone"."click-events" VALUES (999, 42, '2024-01-02 12:00', 'home')""")
    touched = [(moment("2024-01-02 12:00"), moment("2024-01-02 12:01"))]
    everywhere = dict.fromkeys(
        ("marts.pages", "marts.users_over_time", "marts.clicks_by_page", "marts.python_totals", "marts.weekly_pages")
    )
    ran = mixture.run(
        touched={**everywhere, "web-marts.hourly-clicks": touched, "marts.latest_by_user": touched},
    )
    assert ran.success, ran.failure
    assert mixture.query("SELECT clicks FROM marts.users_over_time WHERE user_id = 42") == [(1,)]
    assert mixture.query("SELECT COUNT(*) FROM marts.users_over_time WHERE valid_to IS NULL") == [(8,)]
    assert mixture.query("SELECT last_click_at::TEXT FROM marts.latest_by_user WHERE user_id = 42") == [
        ("2024-01-02 12:00:00",)
    ]
    assert mixture.query("SELECT clicks FROM marts.python_totals") == [(201,)]
    assert ran.outcomes["web-marts.hourly-clicks"].rows == {"2024-01-02-12:00": 1}


def test_a_unique_key_model_is_rebuilt_on_demand(mixture: Sandbox) -> None:
    mixture.execute('DELETE FROM "raw-zone"."click-events" WHERE user_id = 6')
    assert mixture.run("marts.latest_by_user", config={"mode": "recompute"}).success
    assert mixture.query("SELECT COUNT(*) FROM marts.latest_by_user WHERE user_id = 6") == [(0,)]


@pytest.mark.proof
def test_the_command_line_of_a_fresh_instance_takes_models_partitioned_differently(
    mixture: Sandbox, tmp_path: Path
) -> None:
    """Dagster's telemetry, on by default, asks a multi-asset for its one partitions definition."""
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "asset", "materialize", "-f", str(CODE), "--select", "marts/pages"],
        cwd=tmp_path,  # a .env of the project would win over our environment
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "SHOP": str(mixture.folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
