"""`python -m benchmarks` with cases of the tests' own."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import __main__ as command_line
from benchmarks import document
from benchmarks.case import Case, Options
from benchmarks.section import Section
from benchmarks.throwaway import CaseError
from lakehouse.settings import PROJECT_ROOT


def works(options: Options) -> Section:
    section = Section()
    section.say(f"{options.runs} runs, {options.scaled(1000)} rows")
    return section


def fails(options: Options) -> Section:
    raise CaseError("PostgreSQL was away")


def breaks(options: Options) -> Section:
    raise KeyError(str(PROJECT_ROOT / "somewhere"))


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    functions = {"works": works, "fails": fails, "breaks": breaks}
    cases = {name: Case(name, name.capitalize(), "A case.", function) for name, function in functions.items()}
    monkeypatch.setattr(command_line, "CASES", cases)
    return tmp_path / "benchmarks.md"


def run(*words: str) -> int:
    app = typer.Typer()
    app.command()(command_line.main)
    return CliRunner().invoke(app, list(words)).exit_code


def test_a_case_is_measured_and_told(output: Path) -> None:
    assert run("--only", "works", "--runs", "2", "--scale", "0.5", "--output", str(output)) == 0
    (told,) = document.sections(output.read_text()).values()
    assert "2 runs, 500 rows" in told
    assert "`python -m benchmarks --only works --runs 2 --scale 0.5`" in told


def test_a_case_that_fails_is_told_and_the_others_still_run(output: Path) -> None:
    assert run("--output", str(output)) == 1
    told = document.sections(output.read_text())
    assert set(told) == {"works", "fails", "breaks"}
    assert "**Could not be measured.** PostgreSQL was away" in told["fails"]
    assert "KeyError" in told["breaks"]
    assert str(PROJECT_ROOT) not in output.read_text()


def test_an_unknown_case_is_refused(output: Path) -> None:
    assert run("--only", "nothing", "--output", str(output)) == 2
    assert not output.exists()
