"""One clear sentence for what can be wrong; the rest of the code location loads all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from lakehouse_assets.sqlmesh_integration.deploy import DeployError, run_unit_tests, summarize_plan
from tests import forking
from tests.ports import free_ports
from tests.sqlmesh_integration.sandbox import Sandbox

CODE = Path(__file__).parent / "code_location.py"
DAY = "marts.daily_revenue"


@pytest.fixture
def away(shop: Sandbox) -> Sandbox:
    """A shop whose state is in a PostgreSQL that nobody answers for."""
    (port,) = free_ports(1)
    config = yaml.safe_load((shop.folder / "config.yaml").read_text())
    config["gateways"]["local"]["state_connection"] = {
        "type": "postgres", "host": "127.0.0.1", "port": port, "user": "x", "password": "secret", "database": "state",
    }  # fmt: skip
    (shop.folder / "config.yaml").write_text(yaml.safe_dump(config))
    return shop


def materialize(shop: Sandbox, home: Path, *arguments: str) -> str:
    """What the command line answers to a person who asks for what there is not."""
    words = ("dagster", "asset", "materialize", "-f", str(CODE), *arguments)
    # Not in the project's folder: a .env there would win over our environment.
    done = forking.run(
        *words, cwd=home, environment={**os.environ, "DAGSTER_HOME": str(home), "SHOP": str(shop.folder)}
    )
    assert done.returncode != 0
    return done.stderr.splitlines()[-1]


def test_a_state_that_is_away_stops_a_run_with_a_sentence(away: Sandbox) -> None:
    ran = away.run(DAY)
    assert not ran.success
    assert ran.failure.startswith("Nothing was computed in environment prod: OperationalError: ")
    assert "Connection refused" in ran.failure
    assert "secret" not in ran.failure


def test_a_state_that_is_away_stops_a_plan_and_a_deploy_with_a_sentence(away: Sandbox) -> None:
    for act in (lambda: summarize_plan(away.project), away.deploy):
        with pytest.raises(DeployError, match="Nothing was deployed") as stopped:
            act()
        assert "Connection refused" in str(stopped.value)
        assert "secret" not in str(stopped.value)


def test_a_state_that_comes_back_is_used_by_the_same_process(away: Sandbox) -> None:
    assert not away.run(DAY).success
    assert "Connection refused" in away.run(DAY).failure
    config = yaml.safe_load((away.folder / "config.yaml").read_text())
    config["gateways"]["local"]["state_connection"] = {"type": "duckdb", "database": "state.db"}
    (away.folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert away.run(DAY).success


def test_a_state_that_is_away_leaves_assets_and_unit_tests(away: Sandbox) -> None:
    away.project.manifest_path.unlink(missing_ok=True)
    assert len(away.assets().keys) == 5
    assert all(test.passed for test in run_unit_tests(away.project))


def test_a_model_that_there_is_not_is_named(shop: Sandbox, tmp_path: Path) -> None:
    told = materialize(shop, tmp_path, "--select", "marts/nothing")
    assert "['marts/nothing'] were selected, but no AssetsDefinition objects supply these keys" in told


def test_a_partition_before_the_models_start_is_named(shop: Sandbox, tmp_path: Path) -> None:
    told = materialize(shop, tmp_path, "--select", "marts/daily_revenue", "--partition", "2023-12-31")
    assert "must have a PartitionsDefinition containing the passed partition key `2023-12-31`" in told


def test_a_partition_before_the_deployed_start_is_named_and_computes_nothing(shop: Sandbox) -> None:
    """The files begin earlier than what is deployed: Dagster offers days that SQLMesh does not have."""
    file = shop.folder / "models" / "daily_revenue.sql"
    file.write_text(file.read_text().replace("grain ordered_on", "start '2023-12-01', grain ordered_on"))
    before = shop.stamps(DAY)
    ran = shop.run(DAY, partition="2023-12-31", by_hand=True)
    assert "has no interval between 2023-12-31 00:00 and 2024-01-01 00:00 that is over" in ran.failure
    assert "begins at 2024-01-01 00:00" in ran.failure
    assert shop.stamps(DAY) == before
