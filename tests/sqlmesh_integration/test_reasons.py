"""What went wrong, told so that one knows what to do: an error in Python, a lock, a project that can't be read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_assets.sqlmesh_integration.automation import catch_up_job
from lakehouse_assets.sqlmesh_integration.deploy import DeployError
from lakehouse_assets.sqlmesh_integration.manifest_builder import ProjectError
from tests.sqlmesh_integration.sandbox import CONFIG, Sandbox

HOLDING = Path(__file__).with_name("holding.py")
PYTHON = """
from sqlmesh import model

def deep(rows):
    raise ValueError("no rate for CHF\\nsecond line")

@model("marts.rates", columns={"rate": "int"}, kind="FULL")
def execute(context, **kwargs):
    deep([])
"""


@contextmanager
def held(file: Path) -> Iterator[int]:
    """The file locked by another process, whose id is given."""
    command = [sys.executable, str(HOLDING), str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.communicate()


@pytest.fixture
def plain(tmp_path: Path) -> Sandbox:
    return Sandbox.with_models(tmp_path, {"models/one.sql": "MODEL (name marts.one, kind FULL);\nSELECT 1 AS x"})


def test_a_python_models_error_is_told_reason_first_and_its_traceback_is_kept(tmp_path: Path) -> None:
    rates = Sandbox.with_models(tmp_path, {"models/rates.py": PYTHON})
    rates.deploy()
    ran = rates.run()
    line = next(line for line in ran.failure.splitlines() if "marts.rates:" in line)
    assert line == "  marts.rates: ValueError: no rate for CHF second line (line 2 of deep in models/rates.py)"
    (failed,) = [event for event in ran.result.all_events if event.is_step_failure]
    told = failed.step_failure_data.user_failure_data.metadata["marts.rates"]
    assert isinstance(told, dg.MarkdownMetadataValue)
    assert "raise ValueError('no rate for CHF" in told.value


@pytest.mark.parametrize("file", ["state.db", "warehouse.db"])
def test_a_lock_is_called_one_and_says_who_holds_it(plain: Sandbox, file: str) -> None:
    plain.deploy()
    with held(plain.folder / file) as pid:
        ran = plain.run()
        with pytest.raises(DeployError) as stopped:
            plain.deploy()
    for told in (ran.failure, str(stopped.value)):
        assert f"{plain.folder / file} is locked by " in told
        assert f"(PID {pid})" in told
        assert "Fix" not in told
    assert plain.run().success


def test_a_project_that_cant_be_read_at_first_makes_no_empty_definitions(plain: Sandbox) -> None:
    """Zero assets, and then a run over nothing that succeeds."""
    (plain.folder / "models" / "one.sql").write_text("MODEL (name marts.one, kind FULL); SELECT FROM WHERE")
    with pytest.raises(ProjectError, match=r"could not be read: .*one.sql.* Fix it, then reload the code location"):
        plain.assets()


def test_a_state_that_is_locked_at_first_is_no_fault_of_the_project_and_is_asked_again(tmp_path: Path) -> None:
    """A project with a name of its own reads its state whenever it is loaded."""
    named = Sandbox.with_models(
        tmp_path,
        {
            "config.yaml": f"project: mine\n{CONFIG}",
            "models/one.sql": "MODEL (name marts.one, kind FULL);\nSELECT 1 AS x",
        },
    )
    with held(named.folder / "state.db"):
        with pytest.raises(ProjectError, match="state.db is locked by .* Reload the code location when it is free"):
            named.assets()
    assert len(named.assets().keys) == 1
    (named.folder / "models" / "two.sql").write_text("MODEL (name marts.two, kind FULL);\nSELECT 1 AS x")
    with held(named.folder / "state.db"):
        (error,) = named.project.manifest().errors
        assert "is locked by" in error
    assert len(named.assets().keys) == 2


def test_no_job_is_made_over_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="models has no model, and a run over nothing would be a success"):
        catch_up_job(Sandbox.with_models(tmp_path, {}).assets())
