"""The proof of releases: who writes, who is killed, who reads, and what readers found."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.releases.log import ReleaseError
from lakehouse.releases.pointer import read_pointer
from lakehouse.releases.reading import connect_release
from tests.releases_proof import feed
from tests.releases_proof.loader import load_forever, loaded

PROJECT = Path(__file__).parent / "project"
PROD, DEV = "prod", "dev_proof"
COMMITS_A_LOAD = 6
PAUSE_SECONDS = 6.0
FIRST_RELEASE_SECONDS = 120.0
SLOWEST_SECONDS = 300.0
ENOUGH_RELEASES = 3


@dataclass
class Report:
    """What a proof found."""

    seed: int
    with_rule: bool
    kills: int = 0
    kills_in_a_load: int = 0
    reads: int = 0
    releases: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    jobs: Counter[str] = field(default_factory=Counter)
    loads: int = 0
    failures: list[str] = field(default_factory=list)  # what failed jobs said

    def __str__(self) -> str:
        rule = "with the rule" if self.with_rule else "without the rule"
        cut = ", ".join(f"{count} of {name}" for name, count in sorted(self.releases.items()))
        lines = [
            f"{rule}, seed {self.seed}: {self.loads} loads, {self.kills} kills ({self.kills_in_a_load} left a load "
            f"unfinished), {sum(self.releases.values())} releases ({cut}), {self.reads} reads, "
            f"{len(self.violations)} violations",
            f"jobs: {dict(self.jobs)}",
            *self.violations[:20],
            *self.failures[-3:],
        ]
        return "\n".join(lines)


class Proof:
    """One lake, one seed."""

    def __init__(self, lake: Lake, folder: Path, environment: dict[str, str], *, seed: int, with_rule: bool) -> None:
        self.lake = lake
        self.folder = folder
        self.settings = environment
        self.environment = {**os.environ, **environment}
        self.forks = multiprocessing.get_context("forkserver")
        self.forks.set_forkserver_preload([load_forever.__module__])
        self.random = random.Random(seed)
        self.report = Report(seed, with_rule)
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.seen: dict[tuple[str, int], tuple[Any, ...]] = {}
        self.projects = {PROD: self._project(PROD), DEV: self._project(DEV)}

    def _project(self, environment: str) -> Path:
        """Dev changes one of the marts and what reads it; the rest of its tables are prod's."""
        target = self.folder / f"project_{environment}"
        shutil.copytree(PROJECT, target)
        if environment == DEV:
            changed = target / "models" / "lines_per_day.sql"
            changed.write_text(
                changed.read_text().replace("COUNT(*)::BIGINT AS lines", "(COUNT(*) + 0)::BIGINT AS lines")
            )
        return target

    def deploy(self) -> None:
        """The lake, its raw tables, both environments; nothing is computed.

        In a process of its own: SQLMesh's context lives once per process, and another proof may come after this one.
        """
        projects = {environment: str(project) for environment, project in self.projects.items()}
        program = f"from tests.releases_proof.processes import deploy; deploy({projects!r})"
        done = subprocess.run(
            [sys.executable, "-c", program], env=self.environment, cwd=Path(__file__).parents[2],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def run(self, *, kills: int, seconds: float) -> Report:
        """Until the loader was killed so many times, and for so long."""
        with ExitStack() as stack:
            for environment, project in self.projects.items():
                words = [str(project), "rule" if self.report.with_rule else "no-rule"]
                self._start(stack, environment, words, LAKEHOUSE_ENVIRONMENT=environment)
            readers = [threading.Thread(target=self._follow, args=(name,), daemon=True) for name in self.projects]
            for reader in readers:
                reader.start()
            try:
                self._kill_loaders(stack, kills, seconds)
                time.sleep(3)  # what was cut by now may be published
            finally:
                self.stop.set()
                for reader in readers:
                    reader.join()
        for environment in self.projects:
            self._count(environment)
        self.report.loads = loaded(self.lake)
        return self.report

    def _start(self, stack: ExitStack, name: str, words: list[str], **settings: str) -> subprocess.Popen[bytes]:
        arguments = ", ".join(map(repr, words))
        program = f"from tests.releases_proof.processes import main; main({arguments})"
        output, errors = ((self.folder / f"{name}.{kind}").open("ab") for kind in ("out", "err"))
        stack.callback(output.close)
        stack.callback(errors.close)
        process = subprocess.Popen(
            [sys.executable, "-c", program], env={**self.environment, **settings}, stdout=output, stderr=errors,
            cwd=Path(__file__).parents[2], start_new_session=True,
        )  # fmt: skip
        stack.callback(process.wait)
        stack.callback(os.killpg, process.pid, signal.SIGKILL)  # SQLMesh forks helpers
        return process

    def _kill_loaders(self, stack: ExitStack, kills: int, seconds: float) -> None:
        first = time.monotonic() + FIRST_RELEASE_SECONDS
        while any(read_pointer(self.lake.storage, name) is None for name in self.projects):
            assert time.monotonic() < first, "no first release"
            time.sleep(0.2)
        began = time.monotonic()
        while self.report.kills < kills or time.monotonic() - began < seconds or not self._enough_releases():
            assert time.monotonic() - began < SLOWEST_SECONDS + seconds, f"too few releases:\n{self.report}"
            name = f"loader_{self.report.kills}"
            output = self.folder / f"{name}.out"
            loader = self.forks.Process(target=load_forever, args=(self.settings, output), daemon=True)
            loader.start()
            # Some loads go well, then one is hit at any moment of its work.
            whole = self.random.choice([0, 0, 1, 2])
            while self._said(name, "begin") <= whole:
                assert loader.is_alive(), f"the loader ended: {output.read_text()[-2000:]}"
                time.sleep(0.005)
            self._wait_for_commits(self.random.randint(0, COMMITS_A_LOAD))
            time.sleep(self.random.choice([0, 0, 0.02, 0.1, 0.3]))
            loader.kill()
            loader.join()
            self.report.kills += 1
            with closing(connect(self.lake.settings)) as connection:
                row = connection.execute("SELECT count(*) FROM ledger.marks WHERE kind = 'load'").fetchone()
            self.report.kills_in_a_load += bool(row and row[0])
            time.sleep(self.random.uniform(0, PAUSE_SECONDS))

    def _enough_releases(self) -> bool:
        """The first of each environment is empty: more are wanted."""
        pointers = [read_pointer(self.lake.storage, name) for name in self.projects]
        return all(pointer and pointer["newest"] >= ENOUGH_RELEASES for pointer in pointers)

    def _wait_for_commits(self, commits: int) -> None:
        """Until the lake has so many more, whoever made them."""
        enough = self.lake.newest_snapshot() + commits
        with closing(connect(self.lake.settings)) as connection:
            newest = "SELECT max(snapshot_id) >= %s FROM lakehouse.ducklake_snapshot"
            while connection.execute(newest, [enough]).fetchone() != (True,):
                time.sleep(0.002)

    def _said(self, name: str, event: str) -> int:
        path = self.folder / f"{name}.out"
        return path.read_text().count(f'"event": "{event}"') if path.exists() else 0

    # ------------------------------------------------------------------------------------------- readers

    def _follow(self, environment: str) -> None:
        """A reader that breaks is a finding, too."""
        try:
            self._read(environment)
        except Exception as error:
            self._violation(environment, 0, f"its reader broke: {error!r}")

    def _read(self, environment: str) -> None:
        """Follow the pointer; look at an older release now and then."""
        chance = random.Random(self.report.seed)
        newest = 0
        while not self.stop.is_set():
            pointer = read_pointer(self.lake.storage, environment)
            if pointer is None:
                time.sleep(0.1)
                continue
            number = int(pointer["release"])
            if number < newest:
                self._violation(environment, number, f"readers were at {newest} before")
            newest = max(newest, number)
            old = chance.random() < 0.3
            self._check(environment, chance.randint(max(1, number - 4), number) if old else None)
            time.sleep(0.05)

    def _check(self, environment: str, number: int | None) -> None:
        try:
            connection, reading = connect_release(self.lake.settings, environment, number)
        except (ReleaseError, duckdb.Error) as error:
            if number is None:  # an older one may be gone
                self._violation(environment, 0, f"what the pointer names can't be read: {error}")
            return
        with closing(connection):
            try:
                self._judge(environment, reading.number, connection)
            except duckdb.Error as error:
                if not self._gone(environment, reading.number):
                    self._violation(environment, reading.number, f"can't be read: {error}")

    def _judge(self, environment: str, number: int, connection: duckdb.DuckDBPyConnection) -> None:
        found = connection.execute(
            """
            SELECT totals.*, all_days.order_cents, all_days.line_cents,
                (SELECT sum(orders) FROM marts.orders_per_day), (SELECT sum(cents) FROM marts.orders_per_day),
                (SELECT sum(lines) FROM marts.lines_per_day), (SELECT sum(cents) FROM marts.lines_per_day),
                (SELECT count(*) FROM marts.orders_per_day AS orders FULL JOIN marts.lines_per_day AS lines USING (day)
                 WHERE orders.cents IS DISTINCT FROM lines.cents)
            FROM marts.totals, marts.all_days
            """
        ).fetchone()
        with self.lock:
            self.report.reads += 1
        if found is None:
            self._violation(environment, number, "a served table was never computed")
            return
        with self.lock:
            known = self.seen.setdefault((environment, number), found)
        if known != found:
            self._violation(environment, number, f"read as {found}, before as {known}")
        for problem in problems(found):
            self._violation(environment, number, problem)

    def _gone(self, environment: str, number: int) -> bool:
        with closing(connect(self.lake.settings)) as connection:
            return any(one.number == number and one.state == "gone" for one in log.history(connection, environment))

    def _violation(self, environment: str, number: int, problem: str) -> None:
        with self.lock:
            sentence = f"release {number} of {environment}: {problem}"
            if sentence not in self.report.violations:
                self.report.violations.append(sentence)

    def _count(self, environment: str) -> None:
        """After it all: every kept release once more, and what the loops said."""
        with closing(connect(self.lake.settings)) as connection:
            history = log.history(connection, environment)
        self.report.releases[environment] = sum(one.state != "cut" for one in history)
        for one in history:
            if one.state == "published":
                self._check(environment, one.number)
        for line in (self.folder / f"{environment}.out").read_text().splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                continue
            self.report.jobs[f"{environment} {told['event']} {'ok' if told['success'] else 'failed'}"] += 1
            if told["said"]:
                self.report.failures.append(f"{environment} {told['event']}: {told['said'][-1000:]}")


def problems(found: tuple[Any, ...]) -> list[str]:
    """What contradicts what, in one release."""
    loads, line_loads, orders, cents, line_cents, view_orders, view_lines, day_orders, days, day_lines, lines, odd = (
        found
    )
    if loads is None and line_loads is None:
        return [] if not any(value for value in found if value) else [f"empty and not empty: {found}"]
    words = []
    if (loads, cents) != (line_loads, line_cents):
        words.append(f"half a load: orders {loads} ({cents}), lines {line_loads} ({line_cents})")
    elif (orders, cents) != feed.truth(loads):
        words.append(f"load {loads} is {(orders, cents)}, the truth {feed.truth(loads)}")
    if (day_orders, days) != (orders, cents):
        words.append(f"orders by day {(day_orders, days)}, in all {(orders, cents)}")
    if (day_lines, lines) != ((day_orders or 0) * feed.LINES_AN_ORDER, days) or odd:
        words.append(f"lines by day {(day_lines, lines)}, orders by day {(day_orders, days)}, {odd} days differ")
    if (view_orders, view_lines) != (days, lines):
        words.append(f"the view says {(view_orders, view_lines)}, the marts {(days, lines)}")
    return words
