"""A tiny lake on a disk of its own, what the product does with it, and what it must hold."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg

from lakehouse import settings as settings_module
from lakehouse.lake import postgres
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log, publishing
from lakehouse.releases.reading import connect_release
from lakehouse.upkeep.backup import checking
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.upkeep.backup.taking import take
from lakehouse.upkeep.maintenance import compaction, files, releases, snapshots
from lakehouse.writing import loads, marks
from lakehouse.writing.pipelines import lake_pipeline
from lakehouse_assets.defs.environments import deploying
from lakehouse_assets.defs.environments import lifecycle as environments
from lakehouse_assets.defs.releases.cutting import PUBLISH_JOB
from tests.faults import workers
from tests.faults.nights import baskets
from tests.faults.nights.store import Store
from tests.faults.readers import JUDGE_SQL
from tests.releases_proof import feed, processes
from tests.releases_proof.proof import PROD, problems

CONNECTIONS = 60
PASSING = "dev_passing"
LOAD, BASKETS, CATCH_UP, PUBLISH = "load", "load with a child table", "catch-up", "publish"
DEPLOY, BACKUP, COMPACTION, RESUME = "deploy", "backup", "compaction", "resume"
CREATE, PROMOTE, DROP = "environment made", "promotion", "environment dropped"
ANSWERS = (
    "No release was cut:",
    "There is no release of prod before",
    "has no published release",
    "can't be promoted to",
    "There is an environment dev_passing already",
    "There is no environment dev_passing",
    "is left for the next time",
)
"""What is no error but the product's answer to what others left."""


feed.DAYS, feed.ORDERS_A_LOAD = 5, 12  # in this process


class TinyLake:
    """The variables of its environment must be set before it is made: it reads the settings of this process."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.folder = folder
        self.project = project
        self.lake = Lake(settings_module.load_settings())
        processes.use_project(project)
        feed.PIPELINE_OF.update(dict.fromkeys(baskets.EVENT_TIMES, baskets.SOURCE))
        deploying.source_names = lambda: [baskets.SOURCE, feed.SOURCE]
        definitions = processes.definitions()
        self.instance = dg.DagsterInstance.ephemeral()  # in memory, so those who are forked have one each
        self.jobs = {name: definitions.resolve_job_def(name) for name in ("catch_up", PUBLISH_JOB)}
        self.acts: dict[str, Callable[[], Any]] = {
            LOAD: lambda: workers.load_once(self.lake),
            BASKETS: lambda: baskets.load_once(self.lake),
            CATCH_UP: lambda: self._run("catch_up"),
            PUBLISH: lambda: self._run(PUBLISH_JOB),
            DEPLOY: self._deploy_another,
            BACKUP: lambda: take(self.lake, self.backups, run="backup"),
            COMPACTION: lambda: compaction.compact(self.lake, feed.PIPELINE_OF, wait_seconds=2),
            "expiry": lambda: snapshots.expire(self.lake, grace_seconds=workers.GRACE_HOURS * 600),
            "clean-up": lambda: files.delete_unused(self.lake, hours=workers.GRACE_HOURS),
            "orphans": lambda: files.delete_orphans(self.lake, hours=workers.GRACE_HOURS),
            "old releases": lambda: releases.prune(self.lake),
            "bootstrap": self.lake.bootstrap,
            CREATE: lambda: environments.create(self.lake, PASSING, source=PROD, run="create"),
            PROMOTE: lambda: environments.promote(self.lake, PROD, PASSING, run="promote"),
            DROP: lambda: environments.drop(self.lake, PASSING, run="drop"),
            "rollback": lambda: publishing.rollback(self.lake, PROD, None, by="tester"),
            RESUME: lambda: publishing.resume(self.lake, PROD),
            "undo": lambda: [loads.abandon(self.lake, name, run="undo") for name in (feed.SOURCE, baskets.SOURCE)],
        }  # fmt: skip

    @property
    def backups(self) -> BackupPlace:
        """Beside the lake."""
        return BackupPlace.at(self.lake.settings, str(self.folder / "backups"))

    def begin(self) -> None:
        """The lake, a first load of each source, prod deployed."""
        from dlt_sources.landing.tables import create_tables

        postgres.SERVER_CONFIGURATION += f"max_connections = {CONNECTIONS}\n"
        self.lake.bootstrap()
        self.lake.settings.pipelines_dir.mkdir(parents=True, exist_ok=True)
        create_tables(lake_pipeline(self.lake, feed.SOURCE), feed.source())
        self.acts[LOAD]()
        self.acts[BASKETS]()
        deploying.deploy(self.lake, PROD, backfill=False, run="begin", author="begin")

    def _run(self, name: str) -> None:
        done = self.jobs[name].execute_in_process(instance=self.instance, raise_on_error=False)
        if not done.success:
            failures = [event for event in done.all_events if event.is_step_failure]
            raise workers.JobFailedError(
                "\n".join(processes.failure_sentence(event.step_failure_data) for event in failures)
            )

    def _deploy_another(self) -> None:
        """The same mart in other words, so that all of it is computed anew."""
        file = self.project / "models" / "lines_per_day.sql"
        text, plain, other = file.read_text(), "COUNT(*)::BIGINT AS lines", "(COUNT(*) + 0)::BIGINT AS lines"
        file.write_text(text.replace(other, plain) if other in text else text.replace(plain, other))
        deploying.deploy(self.lake, PROD, backfill=False, run="deploy", author="deploy")

    # ------------------------------------------------------------------------------------------- what it must hold

    def seen_by_readers(self) -> tuple[list[str], dict[str, int]]:
        """What the release that prod's readers get contradicts, and what it holds."""
        connection, reading = connect_release(self.lake.settings, PROD, None)
        with closing(connection):
            found = connection.execute(JUDGE_SQL).fetchone()
            (theirs,) = connection.execute("SELECT loads, baskets, items, cents FROM marts.baskets").fetchall()
        assert found is not None
        wrong = problems(found)
        if theirs[0] is not None and theirs != baskets.truth(theirs[0]):
            wrong.append(f"baskets are {theirs}, the truth {baskets.truth(theirs[0])}")
        told = [f"release {reading.number}: {sentence}" for sentence in wrong]
        return told, {"release": reading.number, "loads": found[0] or 0, "baskets": theirs[0] or 0}

    def wrong_at_rest(self) -> tuple[list[str], dict[str, int]]:
        """The same after all was brought to readers; and every row of raw, compared with what was loaded."""
        wrong, seen = self.seen_by_readers()
        with closing(connect(self.lake.settings)) as ledger:
            wrong += [f"still unfinished: {mark}" for mark in marks.read(ledger) if mark.scope != PASSING]
            wrong += [f"never published: {release}" for release in log.candidates(ledger, PROD)]
        with closing(self.lake.connect(read_only=True)) as connection:
            (held,) = connection.execute(f"SELECT max(load) FROM raw.{feed.ORDERS}").fetchall()
            orders, lines = all_rows(held[0])
            for table, key, truth in ((feed.ORDERS, "order_id", orders), (feed.LINES, "line_id", lines)):
                rows = connection.execute(f"SELECT {key}, cents FROM raw.{table}").fetchall()
                if len(rows) != len(truth) or dict(rows) != truth:
                    wrong.append(f"raw.{table} holds {len(rows)} rows, {len(truth)} are the truth of {held[0]} loads")
            (own,) = connection.execute(
                f"SELECT max(load), count(*), count(DISTINCT basket) FROM raw.{baskets.TABLE}"
            ).fetchall()
            (items,) = connection.execute(
                f"SELECT count(*), sum(cents)::BIGINT, count(_dlt_id) FROM raw.{baskets.ITEMS} "
                f"SEMI JOIN raw.{baskets.TABLE} AS b ON b._dlt_id = _dlt_parent_id"
            ).fetchall()
        if (own[0], own[1], *items[:2]) != baskets.truth(own[0]) or own[1] != own[2]:
            wrong.append(f"raw.{baskets.TABLE} holds {own} and {items}, the truth is {baskets.truth(own[0])}")
        if (seen["loads"], seen["baskets"]) != (held[0], own[0]):
            wrong.append(f"readers have {seen}, raw has {held[0]} and {own[0]} loads")
        return wrong, seen

    def left_over(self) -> tuple[bool, int]:
        """Whether the environment that comes and goes has a mark, that only its user ends; releases that wait."""
        with closing(connect(self.lake.settings)) as ledger:
            return any(mark.scope == PASSING for mark in marks.read(ledger)), len(log.candidates(ledger, PROD))

    def check_backup(self) -> list[str]:
        """What is wrong with the newest backup."""
        if not self.backups.stamps():
            return []
        try:
            checking.check(self.backups, self.backups.choose())
            self.backups.keep(2)
        except Exception as error:
            return [f"backup: {error}"]
        return []


def all_rows(loads: int) -> tuple[dict[int, int], dict[int, int]]:
    """Every order and every line with its cents after so many loads."""
    orders: dict[int, int] = {}
    lines: dict[int, int] = {}
    for load in range(1, loads + 1):
        brought, brought_lines = feed.rows(load)
        orders |= {row["order_id"]: row["cents"] for row in brought}
        lines |= {row["line_id"]: row["cents"] for row in brought_lines}
    return orders, lines


def variables(folder: Path, store: Store | None) -> dict[str, str]:
    """The environment of a tiny lake."""
    found = {
        "LAKEHOUSE_DATA_DIR": str(folder / "data"),
        "LAKEHOUSE_STORAGE": str(folder / "storage"),
        "LAKEHOUSE_THREADS": "1",
        "LAKEHOUSE_RELEASES_KEPT": "3",
        "LAKEHOUSE_RELEASE_DOCS": "false",
        "LAKEHOUSE_HISTORY_DAYS": "0",
        "LAKEHOUSE_LOCK_TIMEOUT_SECONDS": "60",
        "LAKEHOUSE_ENVIRONMENT": PROD,
        "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true",
    }
    if store:
        found |= store.server.environment(store.server.new_bucket())
        found["LAKEHOUSE_S3_ENDPOINT"] = f"http://127.0.0.1:{store.proxy.port}"
    return found


def quiet() -> None:
    """Dagster and SQLMesh say much; it costs, and nobody reads it."""
    logging.disable(logging.CRITICAL)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"


def quicken_dlt() -> None:
    """A third of a small load's processor time is dlt (1.31) asking the same types the same again."""
    from dlt.common import typing

    for name in ("extract_inner_type", "extract_type_if_modifier", "is_literal_type", "is_subclass", "is_union_type"):
        function = getattr(typing, name)
        remembered = functools.lru_cache(10_000)(function)

        def quick(*arguments: Any, _function: Any = function, _remembered: Any = remembered, **options: Any) -> Any:
            try:
                return _remembered(*arguments, **options)
            except TypeError:  # a type that can't be a key
                return _function(*arguments, **options)

        for module in [module for key, module in sys.modules.items() if key.startswith("dlt")]:
            if vars(module).get(name) is function:
                setattr(module, name, quick)
