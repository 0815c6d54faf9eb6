"""Models computed in batches, one after the other or side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlmesh.utils.date import to_datetime

from lakehouse_assets.sqlmesh_integration import engine
from tests.sqlmesh_integration.sandbox import Sandbox, Saved, moment
from tests.sqlmesh_integration.test_run_modes import ORDERS, changed

SIDE_BY_SIDE = """
gateways:
  local:
    connection: { type: duckdb, database: warehouse.db, concurrent_tasks: 4 }
    state_connection: { type: duckdb, database: state.db }
default_gateway: local
model_defaults: { dialect: duckdb, start: 2024-01-01, cron: "@daily" }
"""
A_DAY_EACH = ORDERS.replace("(time_column ordered_on)", "(time_column ordered_on, batch_size 1)").replace(
    "end '2024-01-03'", "end '2024-01-12'"
).replace("'2024-01-04'", "'2024-01-13'")  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Twelve days, a batch each, computed."""
    made = Sandbox.with_models(tmp_path_factory.mktemp("batched"), {"models/orders.sql": A_DAY_EACH})
    made.deploy()
    assert made.run().success
    return Saved.of(made)


@pytest.fixture
def batched(saved: Saved) -> Sandbox:
    return saved.put_back()


@pytest.mark.slow
def test_batches_side_by_side_are_one_materialization_with_all_rows(tmp_path: Path) -> None:
    made = Sandbox.with_models(tmp_path, {"models/orders.sql": A_DAY_EACH, "config.yaml": SIDE_BY_SIDE})
    made.deploy()
    for _ in range(3):
        ran = made.run("marts.orders", partitions=("2024-01-01", "2024-01-12"), by_hand=True)
        assert ran.success, ran.failure
        assert ran.outcomes["marts.orders"].rows == {f"2024-01-{day:02}": 1 for day in range(1, 13)}
        assert ran.outcomes["marts.orders"].total_rows == 12
        assert len(ran.result.asset_materializations_for_node("models")) == 12


def test_many_batches_are_marked_missing_with_one_row_of_state(batched: Sandbox) -> None:
    def removed() -> int:
        with duckdb.connect(str(batched.folder / "state.db")) as state:
            row = state.execute("SELECT COUNT(*) FROM sqlmesh._intervals WHERE is_removed").fetchone()
        return row[0] if row else 0

    before, stamps = removed(), batched.stamps("marts.orders")
    assert batched.run("marts.orders", partitions=("2024-01-03", "2024-01-11"), by_hand=True).success
    assert len(changed(stamps, batched.stamps("marts.orders"))) == 9
    assert removed() - before == 1


def test_a_batch_that_fails_leaves_the_other_days_computed(batched: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = engine.RecordingEvaluator.evaluate

    def fails(self: Any, *args: Any, **kwargs: Any) -> Any:
        if to_datetime(kwargs["start"]) == moment("2024-01-10"):
            raise duckdb.IOException("the disk is full")
        return evaluate(self, *args, **kwargs)

    monkeypatch.setattr(engine.RecordingEvaluator, "evaluate", fails)
    ran = batched.run("marts.orders", partitions=("2024-01-08", "2024-01-12"), by_hand=True)
    assert "marts.orders: IOException: the disk is full" in ran.failure
    missing = {f"{start:%Y-%m-%d}" for start, _ in batched.resource.deployed()["marts.orders"].missing}
    assert "2024-01-10" in missing
    assert batched.partitions("marts", "orders").isdisjoint({"2024-01-10"})
    monkeypatch.undo()
    assert batched.run().success
    assert len(batched.partitions("marts", "orders")) == 12


def test_what_only_looks_at_a_model_never_fails_it(
    batched: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class DriverError(Exception):
        """Of a warehouse that nobody here knows."""

    def breaks(self: Any, name: str) -> int:
        raise DriverError("no such function: count")

    monkeypatch.setattr("lakehouse_assets.sqlmesh_integration.rows.RowCounter.total", breaks)
    ran = batched.run("marts.orders", partition="2024-01-05", by_hand=True)
    assert ran.success, ran.failure
    assert "marts.orders was not looked at: DriverError: no such function: count" in capfd.readouterr().err
