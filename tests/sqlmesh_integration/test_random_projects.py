"""Random projects, random requests: what is recorded as computed holds the right rows, and "everything" fills the rest.

No run may record an interval that its parents were not computed for, compute more than was asked for and what that
needs, or leave stale what it was told to recompute; and Dagster shows what SQLMesh's state holds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import duckdb
import pytest
import time_machine

from tests.sqlmesh_integration.random_project import RandomModel, random_models
from tests.sqlmesh_integration.sandbox import CONFIG, Ran, Sandbox

START = datetime(2026, 10, 28, tzinfo=UTC)
RAW = """
    CREATE SCHEMA raw;
    CREATE TABLE raw.t AS
    SELECT ts, (1 + EXTRACT(epoch FROM ts)::BIGINT // 3600 % 7)::BIGINT AS v
    FROM range(TIMESTAMP '2026-10-28', TIMESTAMP '2026-11-20', INTERVAL 8 HOUR) AS r(ts)
"""


class Trial:
    """A random project in a sandbox, a clock that moves, and what must be true of it after every step."""

    def __init__(self, folder: Path, random: Random, size: int):
        self.random = random
        self.models = random_models(random, size)
        files = {f"models/{model.name}.sql": model.text for model in self.models}
        config = CONFIG.replace("2024-01-01", f"{START:%Y-%m-%d}")
        self.sandbox = Sandbox.with_models(folder, {**files, "config.yaml": config})
        self.sandbox.execute(RAW)
        self.now = START + timedelta(days=random.randint(6, 9), hours=12, minutes=30)
        self.told: list[str] = []

    def asset_names(self) -> list[str]:
        return [model.name for model in self.models if model.kind != "embedded"]

    # ------------------------------------------------------------------------------------------ requests

    def step(self) -> None:
        steps = [self.catch_up_some, self.ask_for_days, self.ask_for_days, self.restate_a_day, self.wait]
        self.random.choice(steps)()

    def wait(self) -> None:
        self.now += timedelta(hours=self.random.choice([1, 24, 48]))

    def catch_up_some(self) -> None:
        names = self.random.sample(self.asset_names(), k=self.random.randint(1, 2))
        self.run(*names, by_hand=self.random.random() < 0.3)

    def ask_for_days(self) -> None:
        model = self.random.choice([m for m in self.models if m.is_by_time and m.cron == "@daily"])
        others = [m.name for m in self.models if m.kind in ("full", "view", "by key", "by partition", "scd2")]
        names = [model.name, *self.random.sample(others, k=min(len(others), self.random.choice([0, 0, 1])))]
        days = self.days()
        first = self.random.randrange(len(days))
        ends = days[first], days[min(len(days) - 1, first + self.random.choice([0, 0, 2]))]
        before = self.held(model.name)
        ran = self.run(*names, partitions=ends, by_hand=True)
        allowed = {day for day in days if ends[0] <= day <= ends[1]}
        if model.kind.startswith("chained"):  # its own past, and its future where there is one
            allowed |= {day for day in days if day < ends[0]} - before | {day for day in before if day > ends[0]}
        assert self.made(ran, model.name) <= allowed, f"{model.name} was computed beyond {ends}\n{self}"

    def restate_a_day(self) -> None:
        day = self.random.choice(self.days())
        self.sandbox.execute(f"UPDATE raw.t SET v = v + 100 WHERE ts::DATE = '{day}'")
        self.told.append(f"changed {day}")
        self.run("a.days", partition=day, by_hand=True, config={"downstream": True}, is_half=True)
        hours = f"{day}-00:00", f"{day}-23:00"
        self.run("a.hours", partitions=hours, by_hand=True, config={"downstream": True})

    def run(self, *names: str, is_half: bool = False, **request: object) -> Ran:
        self.told.append(f"{self.now:%d %H:%M} {', '.join(names) or 'everything'} {request}")
        with time_machine.travel(self.now):
            ran = self.sandbox.run(*names, **request)  # type: ignore[arg-type]
            assert ran.success, f"{ran.failure}\n{self}"
            if not is_half:
                self.check()
        return ran

    # -------------------------------------------------------------------------------------------- checks

    def days(self) -> list[str]:
        return [f"{START + timedelta(number):%Y-%m-%d}" for number in range((self.now - START).days)]

    def made(self, ran: Ran, name: str) -> set[str]:
        intervals = ran.outcomes[name].intervals
        return {day for day in self.days() if any(f"{a:%Y-%m-%d}" <= day < f"{b:%Y-%m-%d}" for a, b in intervals)}

    def held(self, name: str) -> set[str]:
        ranges = self.sandbox.resource.deployed()[name].computed
        return {day for day in self.days() if any(f"{a:%Y-%m-%d}" <= day < f"{b:%Y-%m-%d}" for a, b in ranges)}

    def truth(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(str(self.sandbox.folder / "warehouse.db"))
        connection.execute("ATTACH ':memory:' AS truth; CREATE SCHEMA truth.a")
        for model in self.models:
            query = model.truth.replace("FROM a.", "FROM truth.a.").replace("FROM raw.", "FROM warehouse.raw.")
            connection.execute(f"CREATE TABLE truth.{model.name} AS {query}")
        return connection

    def check(self, is_complete: bool = False) -> None:
        deployed = self.sandbox.resource.deployed()
        with self.truth() as connection:
            for model in self.models:
                if model.kind == "embedded" or (not model.is_by_time and not is_complete):
                    continue
                ranges = deployed[model.name].computed
                held = " OR ".join(f"(ts >= '{a:%Y-%m-%d %H:%M}' AND ts < '{b:%Y-%m-%d %H:%M}')" for a, b in ranges)
                right, current = held or "FALSE", "valid_to IS NULL" if model.kind == "scd2" else "TRUE"
                found, true = (
                    connection.sql(f"SELECT ts, v FROM {table} WHERE {where} ORDER BY ts, v").fetchall()
                    for table, where in (
                        (model.name, f"({right}) AND {current}"),
                        (f"truth.{model.name}", right),
                    )
                )
                assert found == true, f"{model.name} ({model.kind}): {set(found) ^ set(true)}\n{self}"
        for model in self.models:
            if model.is_by_time:
                shown = len(self.sandbox.partitions(*model.name.split(".")))
                held_count = _count(model, deployed[model.name].computed)
                assert shown == held_count, f"{model.name}: Dagster shows {shown} of {held_count}\n{self}"

    def finish(self) -> None:
        """After everything was caught up, nothing is missing and every table is right."""
        self.now += timedelta(days=1)
        self.run()
        with time_machine.travel(self.now):
            for name, model in self.sandbox.resource.deployed().items():
                assert model.missing == (), f"{name} lacks {model.missing}\n{self}"
            self.check(is_complete=True)

    def __repr__(self) -> str:
        return "\n".join([*(model.text for model in self.models), *self.told])


def _count(model: RandomModel, ranges: tuple[tuple[datetime, datetime], ...]) -> int:
    if model.cron == "@monthly":
        return sum((b.year - a.year) * 12 + b.month - a.month for a, b in ranges)
    size = timedelta(hours=1) if model.cron == "@hourly" else timedelta(days=1)
    return sum((b - a) // size for a, b in ranges)


def attempt(folder: Path, seed: int, size: int, steps: int) -> None:
    trial = Trial(folder, Random(seed), size)
    with time_machine.travel(trial.now):
        trial.sandbox.deploy()
    for _ in range(steps):
        trial.step()
    trial.finish()


@pytest.mark.slow
def test_a_random_project_is_right_after_every_request(tmp_path: Path) -> None:
    attempt(tmp_path, seed=1, size=4, steps=2)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_random_projects_are_right_after_every_request(tmp_path: Path, seed: int) -> None:
    attempt(tmp_path, seed, size=8, steps=10)
