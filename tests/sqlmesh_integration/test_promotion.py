"""Environments made of each other: nothing is computed, nothing is left behind, and nothing half done is promoted."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse_assets.sqlmesh_integration import engine
from lakehouse_assets.sqlmesh_integration.environments import (
    UnknownEnvironmentError,
    drop,
    list_environments,
    look_at_promotion,
    promote,
)
from lakehouse_assets.sqlmesh_integration.owners import Ownership
from tests.sqlmesh_integration.sandbox import Sandbox, moment
from tests.sqlmesh_integration.test_environments import change_growth

DAY = "marts.daily_revenue"
GROWTH = "marts.daily_growth"
TABLES = "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema LIKE 'sqlmesh__%'"


@pytest.fixture
def no_batches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every model batch that SQLMesh begins from here on."""
    begun: list[Any] = []
    evaluate = engine.RecordingEvaluator.evaluate
    monkeypatch.setattr(
        engine.RecordingEvaluator, "evaluate", lambda self, *a, **k: (begun.append(a), evaluate(self, *a, **k))[1]
    )
    return begun


def test_a_new_environment_shares_every_table_of_what_is_deployed_not_of_the_files(
    shop: Sandbox, no_batches: list[Any]
) -> None:
    tables, stamps = set(shop.query(TABLES)), shop.stamps(DAY)
    change_growth(shop)  # not deployed anywhere
    summary = promote(shop.project, "prod", "dev_ann")
    assert summary.is_new
    assert (no_batches, set(shop.query(TABLES))) == ([], tables)
    assert shop.stamps("marts__dev_ann.daily_revenue") == stamps
    prod, dev = list_environments(shop.project)
    assert (prod.name, prod.expires_at, dev.name) == ("prod", None, "dev_ann")
    assert (dev.own_models, dev.shared_models) == (0, prod.shared_models)
    assert dev.expires_at is not None


def test_a_deploy_to_a_developers_environment_computes_no_table_of_prod(shop: Sandbox, no_batches: list[Any]) -> None:
    shop.resource.mark_missing({DAY: [(moment("2024-01-10"), moment("2024-01-11"))]})
    before = shop.stamps(DAY)
    change_growth(shop)
    done = shop.deploy(environment="dev_ann", backfill=True)
    assert {backfill.name for backfill in done.summary.backfills} == {GROWTH}
    assert no_batches
    assert shop.stamps(DAY) == before
    assert shop.resource.deployed()[DAY].missing


def test_promoting_computes_nothing_and_says_what_changes(shop: Sandbox, no_batches: list[Any]) -> None:
    change_growth(shop)
    shop.deploy(environment="qa", backfill=True)
    before = shop.stamps("marts__qa.daily_growth")
    tables = set(shop.query(TABLES))
    no_batches.clear()
    look = look_at_promotion(shop.project, "qa", "prod", Ownership(("prod", "qa")))
    assert [(change.name, change.change) for change in look.summary.changes] == [(GROWTH, "modified")]
    assert (look.incomplete, look.computed_by, look.is_source_finished) == ((), {GROWTH: "qa"}, True)
    promote(shop.project, "qa", "prod")
    assert (no_batches, set(shop.query(TABLES))) == ([], tables)
    assert shop.stamps(GROWTH) == before
    assert shop.resource.deployed()[GROWTH].missing == ()
    assert shop.resource.deployed()[GROWTH].owner == "prod"
    assert look_at_promotion(shop.project, "qa", "prod").summary.is_empty


def test_what_is_missing_in_the_source_is_named_but_not_what_both_share(shop: Sandbox) -> None:
    change_growth(shop)
    shop.deploy(environment="qa", backfill=False)
    shop.resource.mark_missing({DAY: [(moment("2024-01-10"), moment("2024-01-11"))]})
    assert look_at_promotion(shop.project, "qa", "prod").incomplete == (f"{GROWTH}: was never computed",)
    qa = shop.in_environment("qa", precedence=("prod", "qa"))
    assert qa.run(GROWTH).success
    qa.resource.mark_missing({GROWTH: [(moment("2024-01-12"), moment("2024-01-13"))]})
    (line,) = look_at_promotion(shop.project, "qa", "prod").incomplete
    # The tenth too: prod, which owns what it reads, has not computed that day.
    assert line == f"{GROWTH}: misses 2024-01-10 00:00 to 2024-01-13 00:00 in 2 gaps"


def test_a_forward_only_change_is_promoted_onto_prods_own_table(shop: Sandbox, no_batches: list[Any]) -> None:
    file = shop.folder / "models" / "daily_growth.sql"
    text = file.read_text().replace("(time_column ordered_on)", "(time_column ordered_on, forward_only true)")
    file.write_text(text.replace("daily.revenue_usd::DOUBLE AS", "(daily.revenue_usd * 2)::DOUBLE AS"))
    shop.deploy(environment="qa", backfill=True)
    before = shop.stamps(GROWTH)
    no_batches.clear()
    assert look_at_promotion(shop.project, "qa", "prod").incomplete == ()
    promote(shop.project, "qa", "prod")
    assert (no_batches, shop.stamps(GROWTH)) == ([], before)


@pytest.mark.slow
def test_dropping_takes_what_nobody_else_uses_and_the_same_model_is_computed_again(shop: Sandbox) -> None:
    tables = set(shop.query(TABLES))
    change_growth(shop)
    for name in ("dev_ann", "dev_bob"):
        shop.deploy(environment=name, backfill=True)
    assert drop(shop.project, "dev_ann") == []
    assert shop.query("SELECT count(*) FROM marts__dev_bob.daily_growth")[0][0]
    (dropped, *_) = drop(shop.project, "dev_bob")
    assert "daily_growth" in dropped
    assert set(shop.query(TABLES)) == tables
    assert shop.query("SELECT * FROM information_schema.schemata WHERE schema_name LIKE '%dev_%'") == []
    assert [info.name for info in list_environments(shop.project)] == ["prod"]
    shop.deploy(environment="dev_ann", backfill=True)
    assert shop.query("SELECT count(*) FROM marts__dev_ann.daily_growth")[0][0]


def test_the_first_environment_that_uses_a_table_owns_it(shop: Sandbox) -> None:
    change_growth(shop)
    for name in ("dev_ann", "dev_bob"):
        shop.deploy(environment=name)
    bob = shop.in_environment("dev_bob").resource
    assert bob.deployed()[GROWTH].owner == "dev_ann"  # nobody knows who was first: the first by name, and only that one
    table = bob.deployed()[GROWTH].physical_table
    rule = Ownership(("prod", "qa"), {table: ["dev_cy", "dev_bob", "dev_ann"]})
    assert rule.owner(table, {"dev_ann", "dev_bob"}) == "dev_bob"
    assert rule.owner(table, {"dev_ann", "qa"}) == "qa"


def test_an_unknown_environment_is_one_sentence(shop: Sandbox) -> None:
    for act in (look_at_promotion, promote):
        with pytest.raises(UnknownEnvironmentError, match="There is no environment nobody. There are: prod."):
            act(shop.project, "nobody", "prod")
    assert drop(shop.project, "nobody") == []
