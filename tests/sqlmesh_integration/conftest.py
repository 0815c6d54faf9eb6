"""A small shop: orders of January 2024 in a DuckDB warehouse, and the SQLMesh project over them, on 5 February 2024."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from tests.sqlmesh_integration.sandbox import Sandbox, Saved

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
NOON = datetime(2024, 2, 5, 12, tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def clock() -> Iterator[None]:
    """It is noon: a model has five weeks of days to compute, and not all that have passed since.

    For a module: a package's fixture ends with the session, and other tests would live in 2024.
    """
    with time_machine.travel(NOON):
        yield


@pytest.fixture(scope="session")
def saved_shop(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Deployed and computed once, in the morning."""
    shop = Sandbox.of("shop", tmp_path_factory.mktemp("shop"))
    with time_machine.travel(NOON - timedelta(hours=2)):
        shop.execute(ORDERS)
        shop.deploy()
        assert shop.run().success
    return Saved.of(shop)


@pytest.fixture
def shop(saved_shop: Saved) -> Sandbox:
    """A shop with every day of January 2024, and the days since, computed once."""
    return saved_shop.put_back()


@pytest.fixture
def empty_shop(tmp_path: Path) -> Sandbox:
    """The shop's project and orders; nothing deployed. In a folder of its own: a context remembers its state."""
    shop = Sandbox.of("shop", tmp_path)
    shop.execute(ORDERS)
    return shop
