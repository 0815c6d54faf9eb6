"""The story of pull requests in a bare repository: each job runs `lakehouse ci` in a clone of its own, as CI does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lakehouse.lake.postgres import connect
from lakehouse.settings import PROJECT_ROOT
from tests.lakehouse_instance import LINKED, TOOLS, LakehouseInstance

pytestmark = pytest.mark.proof

MODEL, TESTS = "sqlmesh_project/models/marts/daily_revenue.sql", "sqlmesh_project/tests/test_marts.yaml"
OTHER = "sqlmesh_project/models/marts/collisions_daily.sql"
TWICE = (MODEL, "'purchase' THEN revenue ELSE 0 END)::DEC", "'purchase' THEN 2 * revenue ELSE 0 END)::DEC")
ITS_TEST = (TESTS, "total_revenue: 11.5", "total_revenue: 23")
REVENUE = "SELECT event_date, total_revenue, computed_at FROM {}.daily_revenue ORDER BY event_date"
Edit = tuple[str, str, str]


@dataclass
class Forge:
    """A bare repository, its author's clone, and jobs over one lake."""

    lakehouse: LakehouseInstance
    root: Path
    _jobs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.author = self.root / "author"
        self.author.mkdir()
        for name in LINKED:
            copy = shutil.copytree if (PROJECT_ROOT / name).is_dir() else shutil.copy
            copy(PROJECT_ROOT / name, self.author / name)
        (self.author / ".gitignore").write_text("__pycache__/\n.cache/\nlogs/\n")
        self.git("init", "-q", "-b", "main")
        self.git("init", "-q", "--bare", str(self.root / "origin.git"))
        self.git("remote", "add", "origin", str(self.root / "origin.git"))
        self.push("main", "First.")

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
        subprocess.run(["git", *who, *words], cwd=self.author, check=True, capture_output=True)

    def push(self, branch: str, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", branch)

    def branch(self, name: str, *edits: Edit, of: str = "main") -> None:
        """A branch with these edits, pushed."""
        self.git("checkout", "-q", "-b", name, of)
        for file, old, new in edits:
            path = self.author / file
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new))
        self.push(name, name)

    def merge(self, branch: str) -> None:
        """As the platform does it, on a click."""
        self.git("checkout", "-q", "main")
        self.git("merge", "-q", "--no-ff", "-m", f"Merge {branch}", branch)
        self.git("push", "-q", "origin", "main")

    def start(self, branch: str, *words: str) -> subprocess.Popen[str]:
        """`lakehouse ci …` in a fresh clone of the branch."""
        clone = self.root / f"job-{len(self._jobs)}"
        self._jobs.append(clone)
        origin = str(self.root / "origin.git")
        subprocess.run(["git", "clone", "-q", "-b", branch, origin, str(clone)], check=True)
        environment = {**self.lakehouse.environment, "PYTHONPATH": str(clone), "PATH": f"{TOOLS}:{os.environ['PATH']}"}
        return subprocess.Popen(
            [sys.executable, str(TOOLS / "lakehouse"), "ci", *words], cwd=clone, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def job(self, branch: str, *words: str) -> tuple[int, str]:
        """The same to its end: its exit code, and what it said."""
        process = self.start(branch, *words)
        said, _ = process.communicate()
        return process.returncode, said


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(6000):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_from_a_branch_to_readers_and_back(demo_lakehouse: LakehouseInstance, tmp_path: Path) -> None:
    forge = Forge(demo_lakehouse, tmp_path)
    comment = tmp_path / "comment.md"
    settings = demo_lakehouse.lake.settings

    def prods_plan() -> object:
        with closing(connect(settings)) as connection:
            return connection.execute("SELECT plan_id FROM sqlmesh._environments WHERE name = 'prod'").fetchone()

    def readers_get() -> str:
        done = demo_lakehouse.lakehouse(
            "query", "SELECT sum(total_revenue) AS s FROM marts.daily_revenue", "-f", "json"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_deploying() -> bool:
        with closing(connect(settings)) as connection:
            row = connection.execute("SELECT 1 FROM ledger.marks WHERE kind = 'deploy' AND scope = 'prod'").fetchone()
        return row is not None

    before, plan = demo_lakehouse.rows(REVENUE.format("marts")), prods_plan()
    total = readers_get()

    # Each gate stops a bad one; prod is as it was.
    forge.branch("lint", (MODEL, "event_date::DATE AS event_date,", "*,"))
    code, said = forge.job("lint", "check")
    assert code == 1 and "noselectstar" in said, said
    forge.branch("unit-test", TWICE)
    code, said = forge.job("unit-test", "check")
    assert code == 1 and "test_refunds_are_counted_apart_from_purchases" in said, said
    forge.branch("audit", (MODEL, ":= refunds, min_v := 0", ":= purchases, max_v := 1"))
    code, said = forge.job("audit", "preview", "--pr", "5", "--out", str(comment))
    assert code == 1 and "accepted_range" in said and "can't be merged" in comment.read_text(), said
    code, said = forge.job("audit", "deploy", "--pr", "5")
    assert code == 1 and "is red" in said, said
    assert prods_plan() == plan and readers_get() == total

    # A good one, previewed at once with another; a person reads what it does.
    forge.branch("twice", TWICE, ITS_TEST)
    forge.branch("words", (OTHER, "Collisions in New York", "Crashes in New York"))
    assert forge.job("twice", "check")[0] == 0
    other = forge.start("words", "preview", "--pr", "8")
    code, said = forge.job("twice", "preview", "--pr", "7", "--out", str(comment))
    assert code == 0, said
    other_said, _ = other.communicate()
    assert other.returncode == 0, other_said
    assert "1 model changed, 0 more touched" in comment.read_text()
    assert f"other values in {len(before)} of {len(before)} rows (total_revenue)" in comment.read_text()
    assert prods_plan() == plan and readers_get() == total
    previewed = demo_lakehouse.rows(REVENUE.format("marts__pr_7"))
    assert [row[1] for row in previewed] == [2 * row[1] for row in before]

    # Merged; the deploy is killed, and the next one finishes it. Nothing is computed twice.
    forge.merge("twice")
    killed = forge.start("main", "deploy", "--pr", "7")
    wait_until(lambda: is_deploying() or killed.poll() is not None)
    killed.kill()
    killed.communicate()
    code, said = forge.job("main", "deploy", "--pr", "7", "--json")
    assert code == 0, said
    assert demo_lakehouse.rows(REVENUE.format("marts")) == previewed, "the very rows that were previewed"
    assert readers_get() != total

    # What was previewed against the prod of before is stale, until it is previewed again on what was merged.
    forge.merge("words")
    code, said = forge.job("main", "deploy", "--pr", "8")
    assert code == 1 and "prod has other models than when pr_8 was previewed" in said, said
    code, said = forge.job("main", "preview", "--pr", "8")
    assert code == 0, said
    code, said = forge.job("main", "deploy", "--pr", "8")
    assert code == 0, said
    assert demo_lakehouse.rows(REVENUE.format("marts")) == previewed

    # Readers go back at once; a reverting pull request takes the models back.
    done = demo_lakehouse.lakehouse("rollback", "prod", "--to", "1")
    assert done.returncode == 0 and readers_get() == total
    forge.git("checkout", "-q", "-b", "revert", "main")
    forge.git("revert", "--no-edit", "-m", "1", "HEAD~1")
    forge.git("push", "-q", "origin", "revert")
    code, said = forge.job("revert", "preview", "--pr", "9")
    assert code == 0, said
    forge.merge("revert")
    assert forge.job("main", "deploy", "--pr", "9")[0] == 0
    assert [row[1] for row in demo_lakehouse.rows(REVENUE.format("marts"))] == [row[1] for row in before]
    assert demo_lakehouse.lakehouse("release", "resume", "prod").returncode == 0 and readers_get() == total

    # The one that was closed goes; nobody's environment is left.
    code, said = forge.job("main", "clean", "--pr", "5", "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["dropped"] == ["pr_5"], said
    names = [name for (name,) in demo_lakehouse.rows("SELECT schema_name FROM duckdb_schemas()") if "__pr_" in name]
    assert names == []
