"""A run of models: holds its environment, repairs the loads it stands on, knows what they touched, marks its models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psycopg

from lakehouse.lake import ledger
from lakehouse.lake.ducklake import Lake
from lakehouse.writing import environments, evidence, marks, timings, touched
from lakehouse.writing.graph import Graph, reached_raw_tables, stored_above
from lakehouse.writing.loads import Report, repair
from lakehouse.writing.locks import environment_lock, holding, pipeline_lock, tables_lock
from lakehouse.writing.timings import Timing
from lakehouse.writing.touched import Ranges


@dataclass
class Run:
    """A run at work. `due` says which models loads have touched since they were computed, and when; `open`, which are
    not done yet."""

    environment: str
    graph: Graph
    selected: frozenset[str]
    holder: str = ""
    due: dict[str, Ranges] = field(default_factory=dict)
    _connection: psycopg.Connection | None = None
    _newest: int = 0
    _watermarks: dict[str, int] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    @property
    def connection(self) -> psycopg.Connection:
        """The one that holds the locks."""
        assert self._connection is not None
        return self._connection

    def done(self, name: str, *, checked_at: int | None = None, timing: Timing | None = None) -> None:
        """`name` is computed and its audits have passed: it is no longer unfinished, nor behind what it reads.

        `checked_at` is the lake's snapshot of what they passed on; None when it was found up to date. `timing`
        says how long that took.
        """
        if name not in self.open or self._connection is None:
            return
        self.open.discard(name)
        above = stored_above(self.graph, name)
        self._watermarks[name] = min([self._newest, *(self._watermarks[other] for other in above)])
        with self._connection.transaction():
            marks.clear(self._connection, "model", self.environment, [name])
            touched.advance(self._connection, {self.graph[name].physical_table: self._watermarks[name]})
            if checked_at is not None:
                evidence.record(self._connection, {self.graph[name].stored_as: checked_at}, run=self.holder)
            if timing is not None:
                timings.record(self._connection, {self.graph[name].physical_table: timing})

    def leave(self, names: Iterable[str] | None = None) -> None:
        """What was not done was left alone, as a table that another environment owns: not unfinished, still due.

        `names`: these only; where others failed.
        """
        left = self.open if names is None else self.open & set(names)
        marks.clear(self.connection, "model", self.environment, left)
        self.open -= left


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
            ledger.require(connection)
            graph = read_graph()  # a deploy may have come before us
            unfinished = {mark.scope for mark in marks.read(connection, "load")} & pipelines
            if pipelines == _pipelines(graph, selected, pipeline_of) and not unfinished:
                work = _begin(connection, lake, Run(environment, graph, selected & graph.keys(), run), run=run)
                yield work
                work.leave()
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
    work.open = set(work.selected)
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
    others: Iterable[str] = (),
    run: str,
    report: Report = lambda _: None,
    ended: Callable[[psycopg.Connection], None] = lambda _: None,
) -> Iterator[psycopg.Connection]:
    """Change what is deployed in an environment inside this block, with no load and no run beside it.

    `others` names the environments whose tables it takes over: they may not compute them meanwhile.

    A model that this creates is computed from today's raw tables or not at all: either way no earlier load is due in
    it, but where a table above it, which another environment owns, is behind. `ended`, called with the locks still
    held, is where a release is cut.
    """
    pipelines = sorted(pipelines)
    repair(lake, pipelines, run=run, report=report)
    locks = [
        *(environment_lock(name) for name in {environment, *others}),
        *(pipeline_lock(name, shared=True) for name in pipelines),
        tables_lock(shared=True),
    ]
    with holding(lake.settings, locks, holder=run, waiting=report) as connection:
        unfinished = marks.read(connection, "deploy", environment)
        marks.write(connection, "deploy", environment, run=run, snapshot=lake.newest_snapshot())
        newest = touched.newest(connection)
        try:
            yield connection
        except Exception as error:
            if getattr(error, "changed_nothing", False) and not unfinished:
                marks.clear(connection, "deploy", environment)
            raise
        graph = read_graph()
        with connection.transaction():
            touched.advance(connection, _watermarks_of_new(graph, touched.watermarks(connection), newest))
            environments.claim(connection, environment, {node.physical_table for node in graph.values()})
            marks.clear(connection, "deploy", environment)
        ended(connection)


def _watermarks_of_new(graph: Graph, known: Mapping[str, int], newest: int) -> dict[str, int]:
    """For the tables that are not known yet: as new as the oldest known one that they are computed from."""
    found: dict[str, int] = {}
    for name, node in graph.items():
        if node.physical_table not in known:
            seen, todo = set[str](), [name]
            while todo:
                above = stored_above(graph, todo.pop()) - seen
                seen |= above
                todo += [other for other in above if graph[other].physical_table not in known]
            found[node.physical_table] = min(
                [newest, *(known.get(graph[other].physical_table, newest) for other in seen)]
            )
    return found
