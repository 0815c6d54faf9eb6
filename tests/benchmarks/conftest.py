"""The benchmarks make lakehouses of their own, whatever another folder's tests left in this worker's environment."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_other_lakehouse(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)
