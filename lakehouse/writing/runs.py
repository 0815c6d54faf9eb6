"""A run of models: holds its environment, repairs the loads it stands on, knows what they touched, marks its models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psycopg

from lakehouse.lake import Lake
from lakehouse.writing import marks, touched
from lakehouse.writing.loads import Report, repair
from lakehouse.writing.locks import environment_lock, holding, pipeline_lock
from lakehouse.writing.touched import Ranges


@dataclass(frozen=True)
class Node:
    """A deployed model: where it is stored and what it reads directly."""

    physical_table: str
    upstream: frozenset[str]  # names of models
    raw_tables: frozenset[str]  # schema.table
    is_view: bool = False


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


@dataclass
class Run:
    """A run at work. `due` says which models loads have touched since they were computed, and when."""

    environment: str
    graph: Graph
    selected: frozenset[str]
    due: dict[str, Ranges] = field(default_factory=dict)
    _connection: psycopg.Connection | None = None
    _newest: int = 0
    _watermarks: dict[str, int] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def done(self, name: str) -> None:
        """`name` is computed and its audits have passed: it is no longer unfinished, nor behind what it reads."""
        if name not in self._open or self._connection is None:
            return
        self._open.discard(name)
        self._watermarks[name] = min([self._newest, *(self._watermarks[other] for other in self._stored_above(name))])
        with self._connection.transaction():
            marks.clear(self._connection, "model", self.environment, [name])
            touched.advance(self._connection, {self.graph[name].physical_table: self._watermarks[name]})

    def _stored_above(self, name: str) -> set[str]:
        """The nearest models above `name` that hold rows of their own: it can be no newer than these."""
        found, todo, seen = set[str](), list(self.graph[name].upstream), set[str]()
        while todo:
            above = todo.pop()
            if above in seen or above not in self.graph:
                continue
            seen.add(above)
            if self.graph[above].is_view:
                todo += self.graph[above].upstream
            elif reached_raw_tables(self.graph, above):
                found.add(above)
        return found


@contextmanager
def computing(
    lake: Lake,
    environment: str,
    read_graph: Callable[[], Graph],
    selected: Iterable[str],
    pipeline_of: Mapping[str, str],
    *,
    run: str,
    report: Report = lambda _: None,
) -> Iterator[Run]:
    """Compute `selected` inside this block, calling `Run.done` as each model ends well, upstream first.

    `read_graph` reads the deployed models; `pipeline_of` names the pipeline behind each raw table. When a pipeline
    that the models reach is marked unfinished, its load is repaired first. Models that were not done when the block
    ends by an error or a kill stay marked.
    """
    selected = frozenset(selected)
    while True:
        pipelines = _pipelines(read_graph(), selected, pipeline_of)
        with ExitStack() as stack:
            locks = [environment_lock(environment), *(pipeline_lock(name, shared=True) for name in pipelines)]
            connection = stack.enter_context(holding(lake.settings, locks, holder=run, waiting=report))
            graph = read_graph()  # a deploy may have come before us
            unfinished = {mark.scope for mark in marks.read(connection, "load")} & pipelines
            if pipelines == _pipelines(graph, selected, pipeline_of) and not unfinished:
                work = _begin(connection, lake, Run(environment, graph, selected & graph.keys()), run=run)
                yield work
                # What was not done was left alone, as a table that another environment owns: not unfinished, still due.
                marks.clear(connection, "model", environment, work._open)
                return
        repair(lake, sorted(unfinished), run=run, report=report)


def _pipelines(graph: Graph, selected: Iterable[str], pipeline_of: Mapping[str, str]) -> set[str]:
    tables = {table for name in selected for table in reached_raw_tables(graph, name)}
    return {pipeline_of[table] for table in tables if table in pipeline_of}


def _begin(connection: psycopg.Connection, lake: Lake, work: Run, *, run: str) -> Run:
    """Mark the models, and find what loads have touched since each was computed."""
    known = touched.watermarks(connection)
    work._connection = connection
    work._newest = touched.newest(connection)
    work._watermarks = {name: known.get(node.physical_table, 0) for name, node in work.graph.items()}
    work._open = set(work.selected)
    marks.write(connection, "model", work.environment, sorted(work.selected), run=run, snapshot=lake.newest_snapshot())
    for name in work.graph:
        ranges = touched.since(connection, reached_raw_tables(work.graph, name), work._watermarks[name])
        if ranges is None:  # nothing came since, so it is as new as anything can be
            work._watermarks[name] = work._newest
        elif name in work.selected:
            work.due[name] = ranges
    return work


@contextmanager
def deploying(
    lake: Lake,
    environment: str,
    pipelines: Iterable[str],
    read_graph: Callable[[], Graph],
    *,
    run: str,
    report: Report = lambda _: None,
) -> Iterator[None]:
    """Change what is deployed in an environment inside this block, with no load and no run beside it.

    A model that this creates is computed from today's raw tables or not at all: either way no earlier load is due
    in it.
    """
    pipelines = sorted(pipelines)
    repair(lake, pipelines, run=run, report=report)
    locks = [environment_lock(environment), *(pipeline_lock(name, shared=True) for name in pipelines)]
    with holding(lake.settings, locks, holder=run, waiting=report) as connection:
        marks.write(connection, "deploy", environment, run=run, snapshot=lake.newest_snapshot())
        newest = touched.newest(connection)
        yield
        with connection.transaction():
            known = touched.watermarks(connection)
            tables = {node.physical_table for node in read_graph().values()}
            touched.advance(connection, {table: newest for table in tables if table not in known})
            marks.clear(connection, "deploy", environment)
