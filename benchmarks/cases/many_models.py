"""Cost against the number of models."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, in_turns, spread, timed
from benchmarks.model_project import ModelProject, bare, bare_context, definitions, instance, sqlmesh_project
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

COUNTS = (10, 100, 500)
FLAT = 1.5
OURS = "one model, ours"


def measure(options: Options) -> Section:
    """A project for each number of models; one model of it is run."""
    counts = sorted({options.scaled(count, least=2) for count in COUNTS})
    rows, chosen = [], {}
    section = Section()
    for count in counts:
        measured = _measured(count, options.runs)
        chosen[count] = measured[OURS]
        rows.append([f"{count:,}", *(spread(one.values()) for one in measured.values())])
    section.table(["models", *measured], rows)
    section.commands(list(measured.values()))
    fewest, most = chosen[counts[0]].median(), chosen[counts[-1]].median()
    section.judge(
        f"a run that selects one model is close to flat (at most {FLAT} times from {counts[0]:,} to {counts[-1]:,})",
        f"{fewest:.2f} s and {most:.2f} s: {most / fewest:.2f} times",
        most <= FLAT * fewest,
    )
    return section


def _measured(count: int, runs: int) -> dict[str, Measured]:
    with throwaway() as lakehouse:
        models = {f"m_{number}": MODEL.format(number=number) for number in range(count)}
        project = ModelProject.create(lakehouse, f"models_{count}", models)
        answer = lakehouse.call("benchmarks.cases.many_models:inside", folder=str(project.folder), runs=max(runs, 3))
        words = project.dagster("--select", "key:marts/m_1")
        whole = Measured("one model, whole command", lakehouse.shown(*words))
        in_turns(min(runs, 2), (whole, lambda: lakehouse.command(*words, cwd=project.folder)))
    return {**{name: Measured.of(plain) for name, plain in answer.items()}, whole.name: whole}


def inside(folder: str, runs: int) -> dict[str, dict[str, Any]]:
    """In a child: manifest and definitions loaded, one model run our way and SQLMesh's own."""
    import dagster as dg

    module, context, project = definitions(folder), bare_context(folder), sqlmesh_project(folder)
    key = dg.AssetKey(["marts", "m_1"])
    with instance() as dagster:

        def ours() -> None:
            dg.materialize(
                [module.models], instance=dagster, selection=dg.AssetSelection.assets(key),
                resources=dict(module.defs.resources or {}),
            )  # fmt: skip

        def peer() -> None:
            bare(context, "run", select_models=["marts.m_1"])

        ours()
        peer()
        manifest = Measured("manifest read, fresh", "SqlmeshProject(…).manifest()")
        loaded = Measured("definitions loaded, manifest fresh", "import definitions")
        one = Measured(OURS, "dg.materialize([models], selection=one, instance=…)")
        other = Measured("one model due or not, bare", "Context(…).run('prod', select_models=[one])")
        in_turns(
            runs,
            (manifest, lambda: timed(project.manifest)),
            (loaded, lambda: timed(lambda: definitions(folder))),
            (one, lambda: timed(ours)),
            (other, lambda: timed(peer)),
        )
    return {measured.name: measured.plain() for measured in (manifest, loaded, one, other)}


MODEL = """
    MODEL (name marts.m_{number}, kind VIEW, audits (not_null(columns := (number))));
    SELECT {number}::INT AS number, 'a'::TEXT AS name, 1.5::DOUBLE AS amount_usd
"""

CASE = Case(
    "many-models",
    "Cost against the number of models",
    "Projects of views on the lake. Seconds, in process but for the last column. The bare run finds nothing due, so "
    "it is no peer of ours, which computes the model and its audit; it shows what SQLMesh itself pays for the others.",
    measure,
)
