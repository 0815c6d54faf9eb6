"""The deployed models as the writing rules see them: where each is stored and what it reads."""

from __future__ import annotations

from lakehouse.writing.runs import Graph, Node
from lakehouse_assets.sqlmesh_integration import SqlmeshResource


def deployed_graph(sqlmesh: SqlmeshResource) -> Graph:
    """Every model that is deployed in the resource's environment, by `schema.table`, whatever the files say now."""
    return {
        name: Node(model.physical_table, frozenset(model.upstream), frozenset(model.external), model.is_view)
        for name, model in sqlmesh.deployed().items()
    }
