"""Which served tables move together: those that a reader may join, since what they are made of is partly the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lakehouse.releases.log import Release
from lakehouse.writing.graph import Graph


@dataclass(frozen=True)
class Group:
    """Served tables that share a model, a raw table, a pipeline or a tag, through whatever steps."""

    tables: tuple[str, ...]  # served now, or in the last release and no longer
    graph: Graph  # everything that they are made of, themselves included
    labels: Mapping[str, str]  # served now -> the first of those that it is bound to by today's models alone


def lineage(graph: Graph, name: str) -> set[str]:
    """The model itself and every model that it reads, through whatever models."""
    found, todo = set[str](), [name]
    while todo:
        current = todo.pop()
        if current in graph and current not in found:
            found.add(current)
            todo += graph[current].upstream
    return found


def groups(graph: Graph, pipeline_of: Mapping[str, str], before: Release | None = None) -> list[Group]:
    """The groups of the served tables. What no served table is made of is in none, and holds nobody.

    Tables that moved together in the release `before` and share nothing any more move together once more: as readers
    have them, they still belong to each other.
    """
    above = {name: lineage(graph, name) for name, node in graph.items() if node.served is not None}
    today, together = _Sets(), _Sets()
    for name, models in above.items():
        for key in [f"served {name}", *_keys(graph, models, pipeline_of)]:
            today.join(f"served {name}", key)
            together.join(f"served {name}", key)
    for table in before.tables if before else ():
        together.join(f"served {table.name}", f"before {table.group}" if table.group else f"served {table.name}")
    served = sorted({*above, *(table.name for table in (before.tables if before else ()))})
    members: dict[str, list[str]] = {}
    for name in served:
        members.setdefault(together.root(f"served {name}"), []).append(name)
    labels: dict[str, str] = {}
    for name in sorted(above):
        labels.setdefault(today.root(f"served {name}"), name)
    return [
        Group(
            tuple(names),
            {model: graph[model] for name in names for model in above.get(name, ())},
            {name: labels[today.root(f"served {name}")] for name in names if name in above},
        )
        for names in members.values()
    ]


def _keys(graph: Graph, models: set[str], pipeline_of: Mapping[str, str]) -> set[str]:
    """What binds a table to others: a load moves all tables of its pipeline together."""
    raw = {table for model in models for table in graph[model].raw_tables}
    return {
        *(f"model {model}" for model in models),
        *(f"raw {table}" for table in raw),
        *(f"pipeline {pipeline_of[table]}" for table in raw if table in pipeline_of),
        *(f"tag {tag}" for model in models for tag in graph[model].bound_by),
    }


class _Sets:
    """Disjoint sets of names."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def root(self, name: str) -> str:
        """The same for all names of one set."""
        while (above := self._above.setdefault(name, name)) != name:
            name = above
        return name

    def join(self, one: str, other: str) -> None:
        """Make one set of two."""
        self._above[self.root(one)] = self.root(other)
