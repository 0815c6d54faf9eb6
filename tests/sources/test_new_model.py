"""`lakehouse model`: a raw table's staging model keeps the project's rules, and columns that go are named."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse.settings import PROJECT_ROOT
from lakehouse_assets import models
from lakehouse_assets.cli.graph import app
from lakehouse_assets.sqlmesh_integration.deploy import lint, run_unit_tests
from tests.sources.conftest import Sources

SHOP = '''
    import datetime, decimal
    import dlt

    columns = {"id": {"description": "Number of the order"}, "meta": {"data_type": "json"}}

    @dlt.resource(primary_key="id", write_disposition="merge", columns=columns)
    def orders():
        """One row per order."""
        at = datetime.datetime(2024, 1, 31, tzinfo=datetime.timezone.utc)
        lines = [{"sku": "x"}]
        amount = decimal.Decimal("1.50")
        yield {"id": 1, "order": "a", "amount": amount, "at": at, "paid": True, "lines": lines, "meta": {"x": 1}}

    prices = dlt.resource([{"shop": 1, "sku": "x", "price": 1.5}], name="prices", primary_key=["shop", "sku"],
        write_disposition="merge")
    visits = dlt.resource([{"page": "home"}], name="visits")
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's models, a copy that may be changed."""
    folder = tmp_path / "sqlmesh_project"
    shutil.copytree(PROJECT_ROOT / "sqlmesh_project", folder, ignore=shutil.ignore_patterns(".cache", "logs"))
    monkeypatch.setattr(models, "PROJECT_DIR", folder)
    return folder


def said(*arguments: str) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code in (0, 1, 2) and (done.exception is None or isinstance(done.exception, SystemExit)), done
    return " ".join(done.output.split())


@pytest.mark.slow
def test_a_new_model_keeps_the_rules_and_a_column_that_goes_is_named(team: Sources, project: Path) -> None:
    team.write("shop", SHOP)
    team.load("shop")
    tables = ("raw.shop__orders", "shop__orders__lines", "raw.shop__prices", "raw.shop__visits")
    assert said("model", "init", *tables).count("Wrote sqlmesh_project/models/staging/stg_shop__") == len(tables)
    text = (project / "models" / "staging" / "stg_shop__orders.sql").read_text()
    assert text.startswith("/* One row per order. */\nMODEL (\n  name staging.stg_shop__orders,\n  kind VIEW,")
    assert "  grain id,\n" in text and "unique_values(columns := id)" in text
    assert "id::BIGINT AS id, /* Number of the order */" in text and '"order"::TEXT AS "order"' in text
    assert (
        "unique_combination_of_columns(columns := (shop, sku))"
        in (project / "models" / "staging" / "stg_shop__prices.sql").read_text()
    )
    assert said("lint-models") == "The models keep the rules."
    tests = run_unit_tests(models.project())
    assert [test.message for test in tests if not test.passed] == []
    assert sum("shop" in test.model for test in tests) == 4
    assert "is there already" in said("model", "init", "raw.shop__orders")
    assert "no table raw.nothing. There are: raw.shop__orders" in said("model", "init", "nothing")
    assert said("model", "external") == "external_models.yaml is as the lake is."

    with closing(team.lake.connect()) as connection:
        connection.execute("ALTER TABLE raw.shop__visits RENAME page TO path")
    team.load("shop", "shop__prices")  # learns what the lake has
    missed = "raw.shop__visits has no column page any more. staging.stg_shop__visits read it"
    assert missed in said("lint-models")
    assert "raw.shop__visits is written anew." in said("model", "external")
    assert any("stg_shop__visits" in line for line in lint(models.project())), "SQLMesh names the line"
    file = (project / "external_models.yaml").read_text()
    assert file.startswith("# The tables that dlt loads") and "path: varchar" in file
