"""Readers never get a wrong release, whoever is killed; without the rule they do. `make prove` does it for longer."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from tests.releases_proof.proof import Proof, Report

KILLS, SECONDS = 4, 10.0
LONG_KILLS, LONG_SECONDS = 40, 600.0


def prove(tmp_path: Path, environment: dict[str, str], *, with_rule: bool, kills: int, seconds: float) -> Report:
    seed = int(os.environ.get("PROOF_SEED") or random.randrange(1_000_000))
    environment = {**environment, "LAKEHOUSE_RELEASES_KEPT": "5", "LAKEHOUSE_THREADS": "1"}
    proof = Proof(Lake(settings_module.load_settings()), tmp_path, environment, seed=seed, with_rule=with_rule)
    proof.deploy()
    report = proof.run(kills=kills, seconds=seconds)
    print(f"\n{report}\nThe same again: PROOF_SEED={seed}")
    return report


@pytest.mark.usefixtures("settings")
@pytest.mark.proof
def test_no_release_is_wrong_while_loaders_are_killed(tmp_path: Path, lakehouse_environment: dict[str, str]) -> None:
    report = prove(tmp_path, lakehouse_environment, with_rule=True, kills=KILLS, seconds=SECONDS)
    assert not report.violations, str(report)
    assert report.kills_in_a_load, str(report)


@pytest.mark.proof
@pytest.mark.usefixtures("settings")
def test_without_the_rule_readers_get_wrong_releases(tmp_path: Path, lakehouse_environment: dict[str, str]) -> None:
    report = prove(tmp_path, lakehouse_environment, with_rule=False, kills=KILLS, seconds=SECONDS)
    assert report.violations, str(report)


@pytest.mark.proof
@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("with_rule", [True, False])
def test_for_long(tmp_path: Path, lakehouse_environment: dict[str, str], with_rule: bool) -> None:
    report = prove(tmp_path, lakehouse_environment, with_rule=with_rule, kills=LONG_KILLS, seconds=LONG_SECONDS)
    assert bool(report.violations) is not with_rule, str(report)
