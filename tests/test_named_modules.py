"""Modules that are started by their names, in texts that no import checker reads: each is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from importlib.metadata import entry_points

import pytest

from lakehouse.settings import PROJECT_ROOT

NAME = r"((?:lakehouse|lakehouse_assets|dlt_sources|sqlmesh_project|benchmarks)(?:\.[a-z_]+)+)"
WHERE = ["*.yaml", "*.yml", "*.toml", "*.sh", "*Dockerfile", "Makefile", "*.md", "*.py", ".ci/run"]
STARTS = [
    rf"-m[\"',\s]+{NAME}",  # python -m …, dagster -m …, also as a list of words
    rf"\b(?:python_)?module(?:_name)?[:= ]+[\"']?{NAME}",
    rf"MODULE_NAME={NAME}",
]


def named() -> list[str]:
    files = subprocess.run(
        ["git", "ls-files", *WHERE], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    texts = [(PROJECT_ROOT / file).read_text() for file in files]
    return sorted({found for text in texts for start in STARTS for found in re.findall(start, text)})


@pytest.mark.parametrize("module", named())
def test_a_module_that_is_started_by_its_name_is_there(module: str) -> None:
    assert importlib.util.find_spec(module)


def test_enough_of_them_are_found() -> None:
    """The places of Dagster's instance, the services, the workers and the readers of files among them."""
    assert {
        "lakehouse_assets.definitions", "lakehouse_assets.instance.storage", "lakehouse_assets.instance.compute_logs",
        "lakehouse_assets.instance.webserver", "lakehouse_assets.instance.abandoned_runs",
        "lakehouse.query.http.server", "lakehouse.query.engine.worker", "lakehouse.dashboard.server",
        "dlt_sources.landing.reader_process",
    } <= set(named())  # fmt: skip


def test_what_our_entry_points_and_the_lambda_image_name_can_be_loaded() -> None:
    for group in ("lakehouse.commands", "lakehouse.checks"):
        points = entry_points(group=group)
        assert points and all(point.load() for point in points)
    handler = re.search(r'CMD \["([\w.]+)\.(\w+)"\]', (PROJECT_ROOT / "lambda.Dockerfile").read_text())
    assert handler and importlib.util.find_spec(handler[1])
