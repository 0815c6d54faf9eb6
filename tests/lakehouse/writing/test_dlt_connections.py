"""What of dlt is replaced is there, is asked by dlt, and answers as dlt's own does."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from dlt.common.configuration import resolve
from dlt.common.configuration.providers import environ
from dlt.common.configuration.specs import base_configuration
from dlt.common.typing import TSecretStrValue
from dlt.destinations import ducklake

from lakehouse.lake.ducklake import Lake
from lakehouse.writing import dlt_connections
from lakehouse.writing.pipelines import lake_pipeline


def test_what_a_hint_means_is_remembered() -> None:
    dlt_connections.install()
    for module in (base_configuration, resolve, environ):
        assert module.is_secret_hint.__module__ == dlt_connections.__name__  # type: ignore[attr-defined]
    assert resolve.extract_inner_hint.__module__ == dlt_connections.__name__
    with_a_list: Any = Annotated[str, ["a list"]]
    for hint, is_secret in (
        (TSecretStrValue, True),
        (TSecretStrValue | None, True),
        (str, False),
        (with_a_list, False),
    ):
        assert [resolve.is_secret_hint(hint) for _ in range(2)] == [is_secret] * 2
        assert resolve.extract_inner_hint(hint) is str


def test_what_the_destination_can_do_is_resolved_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    destination: Any = lake_pipeline(lake, "shop").destination
    own = dict(ducklake.capabilities(destination))
    monkeypatch.setattr(ducklake, "configuration", None)
    assert dict(destination.capabilities()) == own
    assert own["loader_parallelism_strategy"] == "parallel"
