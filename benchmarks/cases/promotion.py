"""Promotion of 100 models beside SQLMesh's own virtual update."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, in_turns, ratio, timed
from benchmarks.model_project import ModelProject, bare_context, sqlmesh_project
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

MODELS, TARGET = 100, 1.2
SQL = "MODEL (name marts.m_{number}, kind FULL); SELECT {number} AS number, i FROM range(100) AS t(i)"


def measure(options: Options) -> Section:
    """Each into an environment of its own, in turns."""
    count = options.scaled(MODELS, least=2)
    with throwaway() as lakehouse:
        models = {f"m_{number}": SQL.format(number=number) for number in range(count)}
        project = ModelProject.create(lakehouse, "promotion", models)
        answer = lakehouse.call(
            "benchmarks.cases.promotion:inside", folder=str(project.folder), runs=max(options.runs, 3)
        )
    section = Section()
    ours, peer = Measured.of(answer["ours"]), Measured.of(answer["peer"])
    section.say(f"{count} models; {answer['files']} Parquet files before and {answer['files_after']} after.")
    section.comparison([ours, peer], peer=peer)
    found = ratio(ours, peer)
    section.judge(f"at most {TARGET} times bare SQLMesh doing the same", f"{found:.2f} times", found <= TARGET)
    moved = answer["files_after"] - answer["files"]
    section.judge("no data moved", f"{moved} new Parquet files", moved == 0)
    return section


def inside(folder: str, runs: int) -> dict[str, Any]:
    """In a child, both warmed up: prod's models into a new environment, and by a plan of the same files."""
    from lakehouse_assets.sqlmesh_integration import environments

    project, context = sqlmesh_project(folder), bare_context(folder)
    names = iter(range(1000))

    def ours() -> None:
        environments.promote(project, "prod", f"dev_ours_{next(names)}")

    def peer() -> None:
        from sqlmesh.core.console import NoopConsole, set_console

        set_console(NoopConsole())
        context.plan(
            f"dev_bare_{next(names)}", auto_apply=True, no_prompts=True, include_unmodified=True, skip_tests=True
        )
        context.close()

    ours()
    peer()
    before = _files()
    first = Measured("ours", "promote(project, 'prod', new environment)")
    second = Measured("bare SQLMesh", "Context(…).plan(new environment, include_unmodified=True, auto_apply=True)")
    in_turns(runs, (first, lambda: timed(ours)), (second, lambda: timed(peer)))
    return {"ours": first.plain(), "peer": second.plain(), "files": before, "files_after": _files()}


def _files() -> int:
    from lakehouse.lake.ducklake import METADATA_SCHEMA
    from lakehouse.lake.postgres import connect
    from lakehouse.settings import load_settings

    with closing(connect(load_settings())) as connection:
        row = connection.execute(f"SELECT count(*) FROM {METADATA_SCHEMA}.ducklake_data_file").fetchone()
    assert row is not None
    return int(row[0])


CASE = Case(
    "promotion",
    "Promotion of 100 models",
    "All models of prod shown in another environment: views move, nothing is computed. Beside a plan of SQLMesh's own "
    "that makes the same virtual update. Ours shows what is deployed, whatever the files say.",
    measure,
)
