"""The deployed models of an environment: where each is stored, what it reads, what readers get of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ServedTable:
    """A model that readers get, as it was when a release was cut."""

    name: str  # schema.table, the same in every environment
    view: str  # schema.table in the lake, the environment's own
    physical_table: str  # schema.table in the lake
    content: str  # changes whenever its rows may have
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)  # name -> description, of those that have one
    partitioned_by: tuple[str, ...] = ()
    group: str = ""  # the first of the tables that it moved with
    snapshot: int = 0  # where its group was held back: at which it is taken nevertheless
    as_of: str = ""  # and when that was cut; UTC, as 2026-11-28T04:00:00Z

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> ServedTable:
        """From the ledger's JSON."""
        return cls(**{**stored, "partitioned_by": tuple(stored["partitioned_by"])})


@dataclass(frozen=True)
class Node:
    """A deployed model: where it is stored and what it reads directly."""

    physical_table: str  # as SQLMesh names it, and the ledger
    upstream: frozenset[str]  # names of models
    raw_tables: frozenset[str]  # schema.table
    is_view: bool = False
    owner: str = ""  # the environment that computes it
    gap: str = ""  # "never computed", "missing …": why it can't be served
    stored_as: str = ""  # the same, as `schema.table` in the lake
    served: ServedTable | None = None
    bound_by: frozenset[str] = frozenset()  # tags: whatever carries the same one is released together


Graph = Mapping[str, Node]
"""The models of an environment by name."""


def reached_raw_tables(graph: Graph, name: str) -> frozenset[str]:
    """Every raw table that `name` reads, through whatever models."""
    seen, todo, tables = set[str](), [name], set[str]()
    while todo:
        current = todo.pop()
        if current in seen or current not in graph:
            continue
        seen.add(current)
        tables |= graph[current].raw_tables
        todo += graph[current].upstream
    return frozenset(tables)


def stored_above(graph: Graph, name: str) -> set[str]:
    """The nearest models above `name` that hold rows of their own: it can be no newer than these."""
    found, todo, seen = set[str](), list(graph[name].upstream), set[str]()
    while todo:
        above = todo.pop()
        if above in seen or above not in graph:
            continue
        seen.add(above)
        if graph[above].is_view:
            todo += graph[above].upstream
        elif reached_raw_tables(graph, above):
            found.add(above)
    return found
