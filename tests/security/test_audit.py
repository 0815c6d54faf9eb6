"""What `make audit` makes of the answers of an advisory service."""

from __future__ import annotations

import runpy
from datetime import date
from typing import Any

import pytest

from lakehouse.settings import PROJECT_ROOT

AUDIT = runpy.run_path(str(PROJECT_ROOT / "scripts" / "audit.py"))
TODAY = date(2026, 11, 21)
FOUND = [
    {"name": "fine", "version": "1", "vulns": []},
    {
        "name": "holed",
        "version": "2.0",
        "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.1"], "description": ""}],
    },
]


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        ({}, ["holed 2.0: PYSEC-2026-1, CVE-2026-1, fixed in 2.1."]),
        ({"CVE-2026-1": {"reason": "not reached", "until": date(2026, 11, 21)}}, []),
        (
            {"CVE-2026-1": {"reason": "not reached", "until": date(2026, 11, 20)}},
            ["holed 2.0: PYSEC-2026-1, CVE-2026-1, fixed in 2.1. Accepted until 2026-11-20: not reached"],
        ),
    ],
    ids=["unknown", "accepted", "ran out"],
)
def test_a_vulnerability_fails_unless_it_is_accepted_today(accepted: dict[str, Any], wanted: list[str]) -> None:
    assert AUDIT["problems"](FOUND, accepted, TODAY) == wanted


def test_where_nobody_can_be_asked_it_says_so_and_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    AUDIT["main"].__globals__["asked"] = lambda service: []
    assert AUDIT["main"]() == 0
    said = capsys.readouterr().out
    assert "NOT AUDITED" in said and "no clearance" in said
    assert "No known" not in said
