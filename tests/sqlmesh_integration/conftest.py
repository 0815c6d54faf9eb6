"""A small shop: orders of January 2024 in a DuckDB warehouse, and the SQLMesh project over them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.sqlmesh_integration.sandbox import Sandbox

ORDERS = """
    CREATE SCHEMA IF NOT EXISTS raw;
    CREATE OR REPLACE TABLE raw.shop__orders AS
    SELECT
        n AS order_id,
        ['ann', 'bob', 'cy'][n % 3 + 1] AS customer,
        TIMESTAMP '2024-01-01' + INTERVAL 8 HOUR * n AS ordered_at,
        (10 + n)::DOUBLE AS amount_usd
    FROM range(93) AS numbers(n)
"""


@pytest.fixture(scope="session")
def deployed_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop, deployed and computed once; tests work on copies."""
    shop = Sandbox.of("shop", tmp_path_factory.mktemp("shop"))
    shop.execute(ORDERS)
    shop.deploy()
    assert shop.run().success
    return shop.folder


@pytest.fixture
def shop(deployed_shop: Path, tmp_path: Path) -> Sandbox:
    """A shop with every day of January 2024, and the days since, computed once."""
    shutil.copytree(deployed_shop, tmp_path / "sqlmesh", ignore=shutil.ignore_patterns("logs"))
    computed_on = datetime.fromtimestamp((deployed_shop / "warehouse.db").stat().st_mtime, UTC).date()
    if computed_on != datetime.now(UTC).date():  # a day ended while the tests ran
        assert Sandbox(tmp_path / "sqlmesh").run().success
    return Sandbox(tmp_path / "sqlmesh")


@pytest.fixture
def empty_shop(tmp_path: Path) -> Sandbox:
    """The shop's project and orders; nothing deployed."""
    shop = Sandbox.of("shop", tmp_path)
    shop.execute(ORDERS)
    return shop
