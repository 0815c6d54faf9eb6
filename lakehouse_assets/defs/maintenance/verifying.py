"""What verifying needs the models for: SQLMesh's state beside the catalog, the ledger and the views."""

from __future__ import annotations

from contextlib import closing

import psycopg

from dlt_sources.datasets import broken_declarations
from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.releases import log
from lakehouse.settings import load_settings
from lakehouse.upkeep.verify.finding import Findings
from lakehouse.writing import environments as ledger
from lakehouse.writing import marks
from lakehouse.writing.marks import Mark
from lakehouse_assets.defs.ingestion.declared_types import differences
from lakehouse_assets.defs.ingestion.sources import raw_tables, source_names
from lakehouse_assets.models import deployed_graph, project, resource
from lakehouse_assets.sqlmesh_integration import environments as sqlmesh


def check_models(connection: psycopg.Connection, findings: Findings) -> None:
    """What is deployed is in the catalog, what the ledger names is deployed, what is unfinished has a repairer."""
    relations = _relations(connection)
    models: dict[str, set[str]] = {}
    unfinished = marks.read(connection)
    being_deployed = {mark.scope for mark in unfinished if mark.kind == "deploy"}
    for info in sqlmesh.list_environments(project()):
        findings.looked_at["environment"] += 1
        if info.updated_at is None and info.name not in being_deployed:
            findings.add(
                f"environment {info.name}", "its last deploy was cut off, and no mark says so", _deploy(info.name)
            )
        models[info.name] = _check_environment(info.name, relations, findings)
    for name, reason in _named_environments(connection).items():
        if name not in models and name not in being_deployed:
            findings.add(
                f"environment {name}", f"{reason}, and SQLMesh's state does not know it",
                f"`lakehouse env drop {name}` removes what is left of it.",
            )  # fmt: skip
    for mark in unfinished:
        _check_mark(mark, models, findings)
    _check_declarations(findings)


def _check_declarations(findings: Findings) -> None:
    """Every source can be loaded: its declaration can be read, and the lake doesn't contradict it."""
    for name, problem in broken_declarations().items():
        findings.add(f"dlt_sources/datasets/{name}.toml", problem, "Correct it; its files wait until then.")
    with closing(Lake(load_settings()).connect(read_only=True)) as connection:
        for one in differences(connection, raw_tables()):
            if one.can_follow:
                findings.note(one.table.full_name, str(one), "")
            else:
                findings.add(one.table.full_name, str(one), "Until then nothing of it is loaded.")


def _check_environment(name: str, relations: set[str], findings: Findings) -> set[str]:
    """Gives the names of its models."""
    deployed = resource().model_copy(update={"environment": name}).deployed()
    graph = deployed_graph(resource().model_copy(update={"environment": name}))
    for model_name, node in sorted(graph.items()):
        findings.looked_at["model"] += 1
        model = deployed[model_name]
        if model.computed and node.stored_as not in relations:
            findings.add(
                node.stored_as, f"SQLMesh's state has {model_name} of {name} in it, and the lake has no such table",
                "A backup has it: `lakehouse restore`. Without one: change the model's file, so that it gets a table "
                f"of its own, and {_deploy(name)}",
            )  # fmt: skip
        if model.view not in relations:
            findings.add(model.view, f"{name} shows {model_name} there, and it is not in the lake", _deploy(name))
    return set(graph)


def _check_mark(mark: Mark, models: dict[str, set[str]], findings: Findings) -> None:
    """Work that is unfinished is repaired by the next of its kind, when there will be one."""
    reason = ""
    if mark.kind == "load" and mark.scope not in source_names():
        reason = f"no source is named {mark.scope} any more"
    elif mark.kind == "model" and mark.scope not in models:
        reason = f"there is no environment {mark.scope} any more"
    elif mark.kind == "model" and mark.subject not in models[mark.scope]:
        reason = f"{mark.scope} has no model {mark.subject} any more"
    if reason:
        findings.add(
            "ledger.marks", f"{mark}: nobody repairs it, since {reason}; releases may wait for it",
            f"Bring it back and run it once, or `DELETE FROM ledger.marks WHERE kind = '{mark.kind}' AND scope = "
            f"'{mark.scope}' AND subject = '{mark.subject}'` if its rows are right.",
        )  # fmt: skip
    else:
        findings.note("ledger.marks", str(mark), "At work, or the next load or run repairs it.")


def _named_environments(connection: psycopg.Connection) -> dict[str, str]:
    """Every environment that the ledger knows, and by what."""
    found = {release.environment: "has releases" for release in log.history(connection) if release.state != "gone"}
    used = {name for users in ledger.first_users(connection).values() for name in users}
    return {**found, **dict.fromkeys(used, "uses tables in the ledger")}


def _relations(connection: psycopg.Connection) -> set[str]:
    """`schema.name` of every table and view that the lake has now."""
    rows = connection.execute(
        f"""
        SELECT s.schema_name || '.' || r.name FROM (
            SELECT schema_id, table_name AS name FROM {METADATA_SCHEMA}.ducklake_table WHERE end_snapshot IS NULL
            UNION ALL
            SELECT schema_id, view_name FROM {METADATA_SCHEMA}.ducklake_view WHERE end_snapshot IS NULL
        ) AS r JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id) WHERE s.end_snapshot IS NULL
        """
    ).fetchall()
    return {name for (name,) in rows}


def _deploy(environment: str) -> str:
    return f"`lakehouse deploy {environment}` makes its views and tables again."
