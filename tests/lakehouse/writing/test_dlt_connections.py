"""What of dlt is replaced is there, is asked by dlt, and answers as dlt's own does."""

from __future__ import annotations

from typing import Annotated, Any

from dlt.common.configuration import resolve
from dlt.common.configuration.providers import environ
from dlt.common.configuration.specs import base_configuration
from dlt.common.typing import TSecretStrValue

from lakehouse.writing import dlt_connections


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
