"""Lakehouses that tests/browser and tests/commands share: one filled by the demo, empty ones."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

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


@dataclass
class DemoStack:
    """`lakehouse up` on the demo's lakehouse, for all tests that want it: started by the first one that does."""

    lakehouse: LakehouseInstance
    _running: ExitStack = field(default_factory=ExitStack)
    _services: RunningServices | None = None

    def services(self) -> RunningServices:
        """The services at work; started again where a test has ended them."""
        if self._services is None or self._services.process.poll() is not None:
            self._running.close()
            self._services = self._running.enter_context(running_services(self.lakehouse))
        return self._services

    def end(self) -> None:
        """Let them end as by Ctrl-C, if they are at work."""
        if self._services is not None:
            self._services.end(signal.SIGINT)
            self._running.close()


@pytest.fixture(scope="session")
def demo_stack(demo_lakehouse: LakehouseInstance) -> Iterator[DemoStack]:
    """The one stack of services of a test run."""
    stack = DemoStack(demo_lakehouse)
    yield stack
    stack.end()


@pytest.fixture
def demo_services(demo_stack: DemoStack) -> RunningServices:
    """`lakehouse up` on the demo's lakehouse. Tests that use it run behind those that don't."""
    return demo_stack.services()


@pytest.fixture
def demo_at_rest(demo_stack: DemoStack) -> LakehouseInstance:
    """The demo's lakehouse while nobody but the test is at work on it."""
    demo_stack.end()
    return demo_stack.lakehouse
