"""The deployed models as the writing rules see them: where each is stored and what it reads."""

from __future__ import annotations

from lakehouse.writing.runs import Graph, Node
from lakehouse_assets.sqlmesh_integration import SqlmeshResource


def deployed_graph(sqlmesh: SqlmeshResource) -> Graph:
    """Every model that is deployed in the resource's environment, by `schema.table`."""
    manifest = sqlmesh.project.manifest().by_name
    return {
        name: Node(
            physical_table=model.physical_table,
            upstream=frozenset(table.name for table in manifest[name].depends_on) if name in manifest else frozenset(),
            raw_tables=frozenset(table.name for table in manifest[name].external) if name in manifest else frozenset(),
            is_view=model.kind == "VIEW",
        )
        for name, model in sqlmesh.deployed().items()
    }
