"""A real case, tiny: the throw-away lakehouse, its commands, what it leaves behind."""

import re
import tempfile

import psutil
import pytest

from benchmarks.case import Options
from benchmarks.cases import CASES
from benchmarks.throwaway import CaseError, throwaway
from lakehouse.demo.sample import write_sample
from lakehouse.settings import PROJECT_ROOT


def test_every_case_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert all(name == case.name and case.title and case.what.endswith(".") for name, case in CASES.items())


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Everything once, as small as it gets, on the demo's sample."""
    data = tmp_path_factory.mktemp("sample")
    write_sample(data)
    return Options(runs=1, scale=0.0001, data=data)


EVERY_TIME = "models"
"""It loads every source and computes every model; the others' many commands are run by `make prove`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == EVERY_TIME else pytest.mark.proof) for name in CASES]
)
def test_every_case_measures_on_a_lake_of_its_own(options: Options, name: str) -> None:
    told = CASES[name].measure(options).markdown()
    assert re.search(r"\d", told)
    assert tempfile.gettempdir() not in told


@pytest.mark.slow
def test_a_throwaway_lakehouse_leaves_nothing() -> None:
    with throwaway() as lakehouse:
        root = lakehouse.root
        sample = lakehouse.command("python", "-c", "print(sum(range(1000)))")
        assert sample.seconds > 0
        assert sample.peak_bytes > 1_000_000
        pid_file = lakehouse.settings.data_dir / "postgres" / "data" / "postmaster.pid"
        server = psutil.Process(int(pid_file.read_text().split()[0]))
    assert not root.exists()
    server.wait(30)  # raises TimeoutExpired when it is still there


def test_a_command_that_fails_says_why_without_a_path_of_this_machine() -> None:
    with throwaway(with_postgres=False) as lakehouse:
        (lakehouse.root / "wrong.py").write_text("raise SystemExit(f'wrong: {__file__}')")
        with pytest.raises(CaseError, match="wrong: …/wrong.py") as caught:
            lakehouse.command("python", str(lakehouse.root / "wrong.py"))
    assert str(lakehouse.root) not in str(caught.value)
    assert str(PROJECT_ROOT) not in str(caught.value)
