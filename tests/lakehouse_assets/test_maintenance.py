"""Maintenance from the graph: assets with what they did, a dry run that does nothing, checks that warn, old runs."""

from __future__ import annotations

from contextlib import closing

import dagster as dg
import pytest

from lakehouse.lake.postgres import connect
from lakehouse.upkeep.maintenance.measures import LakeFiles, TableFiles, measure
from lakehouse_assets.defs.maintenance import assets as maintenance
from lakehouse_assets.defs.maintenance.steps import STEPS
from lakehouse_assets.instance.run_history import prune_runs
from lakehouse_assets.resources import LakeResource
from tests.lakehouse_assets.conftest import House


def small_files(house: House) -> int:
    """Files that merging could take away."""
    with closing(connect(house.lake.settings)) as connection:
        return measure(connection).small_files


@pytest.mark.slow
def test_a_run_does_every_step_and_shows_what_it_did(house: House) -> None:
    with closing(connect(house.lake.settings)) as connection:  # other tests' releases, which nobody publishes
        connection.execute("UPDATE ledger.releases SET state = 'gone' WHERE state = 'cut'")
    for number in range(3):
        rows = f"SELECT {90_000 + 20 * number} + range, 1, 'purchase', '2024-05-01', 9.99 FROM range(20)"
        house.land_events(f"events_tended_{number}.parquet", rows)
        house.load_events()
    house.run("catch_up")
    house.run("publish_release")
    before, revenue = small_files(house), house.rows("SELECT * FROM marts.daily_revenue ORDER BY ALL")
    dry = {"ops": {"maintain": {"config": {"dry_run": True}}}}
    looked = house.run(maintenance.MAINTENANCE, run_config=dry)
    assert not looked.asset_materializations_for_node("maintain")
    assert small_files(house) == before
    done = house.run(maintenance.MAINTENANCE)
    shown = {event.asset_key.path[-1]: event.metadata for event in done.asset_materializations_for_node("maintain")}
    assert list(shown) == list(STEPS)
    assert all("summary" in metadata and "bytes_freed" in metadata for metadata in shown.values())
    assert small_files(house) < before
    assert shown["compaction"]["small_files_after"].value == small_files(house)
    assert house.rows("SELECT * FROM marts.daily_revenue ORDER BY ALL") == revenue
    # Nothing counts as changed by it: no run has anything to do, and no release is cut.
    house.run("catch_up")
    with closing(connect(house.lake.settings)) as connection:
        waiting = connection.execute("SELECT environment, changed FROM ledger.releases WHERE state = 'cut'").fetchall()
    assert not waiting


def test_one_step_alone(house: House) -> None:
    done = house.run(maintenance.MAINTENANCE, asset_selection=[maintenance.key("snapshots")])
    assert [event.asset_key.path[-1] for event in done.asset_materializations_for_node("maintain")] == ["snapshots"]


def test_materialize_all_leaves_maintenance_out() -> None:
    @dg.asset
    def rows() -> None: ...

    tending = maintenance.maintenance_assets()
    done = dg.materialize([rows, tending], resources={"lake": LakeResource()})
    assert [event.asset_key for event in done.get_asset_materialization_events()] == [dg.AssetKey("rows")]


def test_a_step_that_fails_holds_up_no_other_and_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.upkeep.maintenance import snapshots

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the catalog is upside down")

    monkeypatch.setattr(snapshots, "expire", broken)
    selection = [maintenance.key(name) for name in ("releases", "snapshots", "orphans")]
    done = house.run(maintenance.MAINTENANCE, asset_selection=selection, raise_on_error=False)
    assert not done.success
    assert {event.asset_key.path[-1] for event in done.asset_materializations_for_node("maintain")} >= {
        "releases", "orphans"
    }  # fmt: skip
    (failure, *_) = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert failure.user_failure_data.description == "snapshots: the catalog is upside down"


def test_the_checks_warn_when_small_files_or_dead_bytes_pile_up() -> None:
    crowded = TableFiles("raw.crowded", 5_000, 10, 4_999, 0, 0, 0, 0)
    small, dead = maintenance.results(LakeFiles((crowded,), 3, past_bytes=2_000_000_000))
    assert (small.passed, dead.passed) == (False, False)
    assert small.severity == dead.severity == dg.AssetCheckSeverity.WARN
    assert small.description and "raw.crowded" in small.description
    well = LakeFiles((TableFiles("raw.t", 3, 30_000_000_000, 2, 0, 1, 0, 0),), 3, past_bytes=1_500_000_000)
    assert [result.passed for result in maintenance.results(well)] == [True, True]


def test_the_checks_run_by_themselves(house: House) -> None:
    done = house.run(maintenance.LAKE_HEALTH)
    checks = {event.check_name: event.passed for event in done.get_asset_check_evaluations()}
    assert checks == {maintenance.FEW_SMALL_FILES: True, maintenance.FEW_DEAD_BYTES: True}


def test_old_runs_go_but_none_that_an_asset_still_needs() -> None:
    days = dg.StaticPartitionsDefinition(["a", "b"])

    @dg.asset(partitions_def=days)
    def parts() -> None: ...

    @dg.asset(check_specs=[dg.AssetCheckSpec("fine", asset="whole")])
    def whole() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])

    with dg.DagsterInstance.ephemeral() as instance:

        def run(asset: dg.AssetsDefinition, partition: str | None = None) -> str:
            return dg.materialize([asset], instance=instance, partition_key=partition).run_id

        first_a, b, first_whole = run(parts, "a"), run(parts, "b"), run(whole)
        second_a, second_whole = run(parts, "a"), run(whole)
        assert prune_runs(instance, 1).figures == {"runs_before": 5, "runs_after": 5, "old_runs_needed": 0}
        assert prune_runs(instance, -1, dry_run=True).figures["runs_after"] == 3
        done = prune_runs(instance, -1)
        kept = {run.run_id for run in instance.get_runs()}
        assert kept == {b, second_a, second_whole}
        assert not {first_a, first_whole} & kept
        assert done.figures == {"runs_before": 5, "runs_after": 3, "old_runs_needed": 3}
        assert instance.get_materialized_partitions(dg.AssetKey("parts")) == {"a", "b"}
