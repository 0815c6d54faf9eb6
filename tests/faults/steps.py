"""The places at which a process dies by SIGKILL when the suite asks for it: after and before what it does there."""

from __future__ import annotations

import functools
import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

LOADER, RUN, TEND, ENVIRONMENTS, READERS = "loader", "run", "maintenance", "environments", "rollback"


@dataclass(frozen=True)
class Step:
    """Where: before or after a call of `module.attribute`, which may be `Class.method`."""

    process: str
    when: Literal["before", "after"]
    module: str
    attribute: str


STEPS = {
    "load: between its mark and its first commit": Step(LOADER, "after", "lakehouse.writing.marks", "write"),
    "load: between a file's commit and dlt's note of it": Step(
        LOADER, "after", "dlt.destinations.impl.ducklake.ducklake", "DuckLakeCopyJob.run"
    ),
    "load: between the merge's commit and dlt's note of it": Step(
        LOADER, "after", "dlt.destinations.job_client_impl", "SqlLoadJob.run"
    ),
    "load: between its last commit and its ledger": Step(LOADER, "before", "lakehouse.writing.loads", "_finish"),
    "load: between what it touched and the end of its mark": Step(
        LOADER, "after", "lakehouse.writing.touched", "record"
    ),
    "run: between its locks and its marks": Step(RUN, "before", "lakehouse.writing.marks", "write"),
    "run: between its marks and its first row": Step(RUN, "after", "lakehouse.writing.marks", "write"),
    "run: between SQLMesh's DELETE and INSERT": Step(
        RUN, "after", "sqlmesh.core.engine_adapter.base", "EngineAdapter.delete_from"
    ),
    "run: between a model's rows and its audits": Step(
        RUN, "before", "sqlmesh.core.snapshot.evaluator", "SnapshotEvaluator.audit"
    ),
    "run: between the audits and the end of a model's mark": Step(
        RUN, "before", "lakehouse.writing.evidence", "record"
    ),
    "release: between the rule and the cut": Step(RUN, "before", "lakehouse.releases.log", "write"),
    "release: between the cut and the end of the locks": Step(RUN, "after", "lakehouse.releases.log", "write"),
    "release: between two tables": Step(RUN, "after", "lakehouse_assets.io_managers", "publish_table"),
    "release: between the files and the catalog": Step(RUN, "before", "lakehouse.releases.publishing", "write_catalog"),
    "release: between the catalog and the log": Step(RUN, "after", "lakehouse.releases.publishing", "write_catalog"),
    "release: between the log and the pointer": Step(RUN, "before", "lakehouse.releases.publishing", "swap_pointer"),
    "release: between the log and the files of old ones": Step(RUN, "after", "lakehouse.releases.log", "forget"),
    "compaction: before its first step": Step(TEND, "before", "lakehouse.upkeep.maintenance.compaction", "_compact"),
    "expiry: between the choice and the act": Step(
        TEND, "after", "lakehouse.upkeep.maintenance.snapshots", "expirable"
    ),
    "clean-up: between the choice and the act": Step(TEND, "before", "lakehouse.upkeep.maintenance.files", "_call"),
    "clean-up: between the act and its report": Step(TEND, "after", "lakehouse.upkeep.maintenance.files", "_call"),
    "bootstrap: between the ledger and the zones": Step(TEND, "after", "lakehouse.lake.ledger", "bootstrap"),
    "promotion: between its mark and its views": Step(
        ENVIRONMENTS, "before", "lakehouse_assets.sqlmesh_integration.environments", "promote"
    ),
    "promotion: between its views and its end": Step(ENVIRONMENTS, "before", "lakehouse.writing.environments", "claim"),
    "drop: between the views and the tables": Step(
        ENVIRONMENTS, "before", "lakehouse_assets.sqlmesh_integration.engine", "drop_unused_tables"
    ),
    "drop: between the tables and the ledger": Step(ENVIRONMENTS, "before", "lakehouse.writing.environments", "forget"),
    "rollback: between the log and the pointer": Step(READERS, "after", "lakehouse.releases.log", "hold"),
    "resume: between the log and the pointer": Step(READERS, "after", "lakehouse.releases.log", "resume"),
}


def _asked(folder: Path, name: str) -> Path:
    return folder / f"die at {name.replace('/', ' ')}"


def ask(folder: Path, name: str) -> None:
    """Let the next process that comes there die."""
    _asked(folder, name).touch()


def is_reached(folder: Path, name: str) -> bool:
    """Whether somebody died there."""
    return not _asked(folder, name).exists()


def take_back(folder: Path, name: str) -> bool:
    """Nobody will die there any more; gives False when somebody has by now."""
    try:
        _asked(folder, name).unlink()
    except FileNotFoundError:
        return False
    return True


def arm(process: str, folder: Path) -> None:
    """Watch this kind of process's steps from here on."""
    for name, step in STEPS.items():
        if step.process != process:
            continue
        owner: Any = importlib.import_module(step.module)
        *outer, attribute = step.attribute.split(".")
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, attribute, _dying(getattr(owner, attribute), step.when, name, folder))


def _dying(function: Callable[..., Any], when: str, name: str, folder: Path) -> Callable[..., Any]:
    def here() -> None:
        if take_back(folder, name):  # one process dies of it
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            here()
        result = function(*arguments, **options)
        if when == "after":
            here()
        return result

    return wrapper
