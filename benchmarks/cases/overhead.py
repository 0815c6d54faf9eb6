"""What a model costs more in our run than in SQLMesh's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, Sample, differences, in_turns, spread, timed
from benchmarks.model_project import ModelProject, bare, bare_context, definitions, instance, sqlmesh_project
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

FEW, MANY, TARGET_MS = 5, 40, 20
CATCH_UP = {"sqlmesh/mode": "catch_up"}


def measure(options: Options) -> Section:
    """Two numbers of models, so that what a run costs and what a model costs are told apart."""
    few, many = FEW, options.scaled(MANY, least=FEW + 1)
    section = Section()
    found = {}
    for count in (few, many):
        with throwaway() as lakehouse:
            models = {f"trivial_{number}": MODEL.format(number=number) for number in range(count)}
            project = ModelProject.create(lakehouse, f"models_{count}", models)
            answer = lakehouse.call(
                "benchmarks.cases.overhead:inside", folder=str(project.folder), runs=max(options.runs, 3)
            )
        found[count] = {name: [Measured.of(plain) for plain in pair] for name, pair in answer.items()}
        for name, pair in found[count].items():
            section.say(f"**{count} models, {name}**")
            section.comparison(pair, peer=pair[1])
    for name in found[many]:
        extra = {count: differences(*found[count][name], what="seconds") for count in (few, many)}
        each = [1000 * seconds / many for seconds in extra[many]]
        slope = 1000 * (_middle(extra[many]) - _middle(extra[few])) / (many - few)
        section.judge(
            f"{name}: under {TARGET_MS} ms a model more than SQLMesh's own run",
            f"{spread(each)} ms with the run's own cost spread over {many} models, {slope:.1f} ms for one model more",
            _middle(each) < TARGET_MS,
        )
    return section


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def inside(folder: str, runs: int) -> dict[str, list[dict[str, Any]]]:
    """In a child: nothing due, then every model computed; ours and bare in turns."""
    import dagster as dg

    from lakehouse_assets.sqlmesh_integration import SqlmeshResource

    module, context = definitions(folder), bare_context(folder)
    sqlmesh = SqlmeshResource.of(sqlmesh_project(folder))
    names = list(sqlmesh.deployed())
    with instance() as dagster:

        def ours() -> None:
            dg.materialize([module.models], instance=dagster, tags=CATCH_UP, resources={"sqlmesh": sqlmesh})

        def peer() -> None:
            bare(context, "run")

        def due(work: Callable[[], None]) -> Sample:
            sqlmesh.mark_missing(dict.fromkeys(names))
            return timed(work)

        ours()
        peer()
        command = "dg.materialize([models], tags={'sqlmesh/mode': 'catch_up'}, instance=…)"
        idle = Measured("ours", command), Measured("SQLMesh's own run", "Context(…).run('prod')")
        busy = Measured("ours", command), Measured("SQLMesh's own run", "Context(…).run('prod')")
        in_turns(runs, (idle[0], lambda: timed(ours)), (idle[1], lambda: timed(peer)))
        in_turns(runs, (busy[0], lambda: due(ours)), (busy[1], lambda: due(peer)))
    return {
        "nothing due": [one.plain() for one in idle],
        "all computed": [one.plain() for one in busy],
    }


MODEL = """
    MODEL (name marts.trivial_{number}, kind FULL);
    SELECT {number}::INT AS number
"""

CASE = Case(
    "overhead",
    "Overhead of a model",
    "In process, contexts loaded: one Dagster run over all models beside SQLMesh's own run, once with nothing due and "
    "once with every model due. The models are a row each, so what is measured is the machinery.",
    measure,
)
