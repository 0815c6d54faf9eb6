"""Lakehouses that tests/browser and tests/commands share: one filled by the demo, empty ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.lakehouse_instance import LakehouseInstance, create_instance
from tests.running_services import RunningServices, running_services


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option of these tests."""
    parser.addoption("--screenshots", action="store_true", help="Write docs/images/ anew from the browser tests.")


@pytest.fixture(scope="session")
def new_lakehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], LakehouseInstance]]:
    """Make an empty lakehouse: not even PostgreSQL is there before a command needs it."""
    with ExitStack() as stack:

        def create() -> LakehouseInstance:
            instance = create_instance(tmp_path_factory.mktemp("lakehouse"))
            stack.callback(instance.close)
            return instance

        yield create


@pytest.fixture(scope="session")
def demo_lakehouse(new_lakehouse: Callable[[], LakehouseInstance]) -> LakehouseInstance:
    """A lakehouse filled once by `lakehouse demo` with the made-up sample. Tests leave it as right as they found it."""
    instance = new_lakehouse()
    done = instance.lakehouse("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    (instance.root / "demo.txt").write_text(done.stdout)
    return instance


@pytest.fixture(scope="module")
def demo_services(demo_lakehouse: LakehouseInstance) -> Iterator[RunningServices]:
    """`lakehouse up` on the demo's lakehouse."""
    with running_services(demo_lakehouse) as services:
        yield services
