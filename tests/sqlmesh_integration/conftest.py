"""A small shop: orders of January 2024 in a DuckDB warehouse, and the SQLMesh project over them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
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


KEPT = ".cache"
"""What SQLMesh and the manifest keep of files that they have read: it stays when the shop is put back."""


@dataclass(frozen=True)
class Shops:
    """The shop as it was deployed, and the one folder in which tests use it, one after the other.

    SQLMesh's context and the models that it has read are kept by folder: in another one each test would pay for them.
    """

    folder: Path
    deployed: Path

    def put_back(self) -> Sandbox:
        """As it was: its files, its state and its warehouse."""
        for entry in self.folder.iterdir():
            if entry.name != KEPT:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.copytree(self.deployed, self.folder, dirs_exist_ok=True)
        return Sandbox(self.folder)


@pytest.fixture(scope="session")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Shops:
    """Deployed and computed once."""
    shop = Sandbox.of("shop", tmp_path_factory.mktemp("shop"))
    shop.execute(ORDERS)
    shop.deploy()
    assert shop.run().success
    deployed = tmp_path_factory.mktemp("deployed") / "sqlmesh"
    shutil.copytree(shop.folder, deployed, ignore=shutil.ignore_patterns(KEPT, "logs"))
    return Shops(shop.folder, deployed)


@pytest.fixture(scope="session")
def deployed_shop(shops: Shops) -> Path:
    """The shop as `shop` gives it, to be copied elsewhere."""
    return shops.deployed


@pytest.fixture
def shop(shops: Shops) -> Sandbox:
    """A shop with every day of January 2024, and the days since, computed once."""
    shop = shops.put_back()
    computed_on = datetime.fromtimestamp((shops.deployed / "warehouse.db").stat().st_mtime, UTC).date()
    if computed_on != datetime.now(UTC).date():  # a day ended while the tests ran
        assert shop.run().success
    return shop


@pytest.fixture
def empty_shop(tmp_path: Path) -> Sandbox:
    """The shop's project and orders; nothing deployed. In a folder of its own: a context remembers its state."""
    shop = Sandbox.of("shop", tmp_path)
    shop.execute(ORDERS)
    return shop
