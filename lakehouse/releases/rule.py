"""The rule by which a release is cut: nothing unfinished, everything checked, nothing behind the raw it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.lake.feed import MAINTENANCE
from lakehouse.releases import held, log, pages
from lakehouse.releases.groups import groups
from lakehouse.releases.held import HeldBack
from lakehouse.releases.log import Release
from lakehouse.writing import evidence, marks, touched
from lakehouse.writing.graph import Graph, ServedTable, reached_raw_tables
from lakehouse.writing.locks import Lock, environment_lock, pipeline_lock, try_lock
from lakehouse.writing.marks import Mark

Audit = Callable[[Collection[str]], Mapping[str, str]]
"""Run every blocking audit of these models over all they hold; gives model -> what failed."""


@dataclass(frozen=True)
class Act:
    """Who changed the environment's head, with which code."""

    run: str
    author: str
    code_version: str


@dataclass(frozen=True)
class Cut:
    """What came of trying to cut a release: one, or why there is none; and who is held back."""

    environment: str
    release: Release | None = None
    held: tuple[HeldBack, ...] = ()
    readers_see: int | None = None
    hold: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not everything that readers see has moved."""
        return tuple(dict.fromkeys(reason for group in self.held for reason in group.reasons))

    def __str__(self) -> str:
        readers = (
            f"Readers of {self.environment} still see release {self.readers_see}."
            if self.readers_see
            else f"Readers of {self.environment} see nothing yet."
        )
        if self.release:
            waits = f" It waits: readers are {self.hold}." if self.hold else ""
            cut = f"{str(self.release).capitalize()} is cut: {', '.join(self.release.changed)}.{waits}"
            return "\n".join([cut, *map(str, self.held)])
        if (
            self.reasons
            and not self.readers_see
            and all(reason.startswith("never computed") for reason in self.reasons)
        ):
            return f"Readers of {self.environment} get its first release when its models have been computed."
        if self.reasons:
            lines = "\n".join(f"  {reason}" for reason in self.reasons)
            return f"No release was cut:\n{lines}\n{readers}"
        return f"Nothing that readers see has changed. {readers}"


def cut(
    lake: Lake,
    connection: psycopg.Connection,
    environment: str,
    graph: Graph,
    pipeline_of: Mapping[str, str],
    act: Act,
    audit: Audit,
) -> Cut:
    """Cut a release of what the environment's served models hold now, as far as the rule lets us.

    Each group of connected tables moves whole to one snapshot, or stays whole as the release before has it. Call with
    the environment's lock held: `connection` is the one that holds it. `graph` is read after the act; `pipeline_of`
    names the pipeline behind each raw table.
    """
    before = log.newest(connection, environment)
    found = groups(graph, pipeline_of, before)
    graph = {name: node for group in found for name, node in group.graph.items()}
    at_work = dict(_others_at_work(connection, environment, graph, pipeline_of))
    changes = changed_at(connection, {node.stored_as for node in graph.values()} | raw_tables(graph))
    unfinished, known = marks.read(connection), touched.watermarks(connection)
    reasons = [
        [at_work[lock] for lock in locks_of_others(environment, group.graph, pipeline_of) if lock in at_work]
        or _blocked(connection, environment, group.graph, unfinished, known)
        for group in found
    ]
    judged = list(zip(found, reasons, strict=True))
    ready = {name: node for group, why in judged if not why for name, node in group.graph.items()}
    failed = dict(_unchecked(connection, ready, changes, audit, run=act.run, snapshot=lake.newest_snapshot()))
    for group, why in judged:
        why += [f"{name}: {reason}" for name, reason in sorted(failed.items()) if name in group.graph]
    # What is unfinished or wrong needs an act, which cuts by itself; who is at work only needs to end.
    log.postpone(connection, environment, at_work.values())
    pointer = log.pointer(connection, environment)
    told = Cut(
        environment,
        held=held.record(connection, environment, [(group.tables, why) for group, why in judged if why]),
        readers_see=pointer.number if pointer else None,
        hold=pointer.hold if pointer else "",
    )
    old = {table.name: before.carry(table) for table in before.tables} if before else {}
    tables: list[ServedTable] = []
    for group, why in judged:
        if why:
            tables += [old[name] for name in group.tables if name in old]
            continue
        for name, label in group.labels.items():
            served = graph[name].served
            assert served is not None
            tables.append(replace(served, content=_content(graph, name, changes), group=label))
    differences = _differences(old, tables)
    shown = pages.deployed(connection, environment)
    if tables:  # pages alone are no release
        differences += pages.differences(before.pages if before else {}, shown)
    if not differences:
        return told
    release = log.write(
        connection, environment, lake.newest_snapshot(), sorted(tables, key=lambda table: table.name),
        code_version=act.code_version, run=act.run, author=act.author, changed=differences, pages=shown,
    )  # fmt: skip
    return replace(told, release=release)


def locks_of_others(environment: str, graph: Graph, pipeline_of: Mapping[str, str]) -> list[Lock]:
    """Whoever holds these shared keeps others from writing what the environment reads.

    An act that cuts when it ends only tries them. Who comes to cut and nothing else takes them first and waits: else an
    environment that reads another one's tables would find it at work again and again.
    """
    pipelines = {pipeline_of[table] for table in raw_tables(graph) if table in pipeline_of}
    owners = {node.owner for node in graph.values() if node.owner} - {environment}
    return [
        *(pipeline_lock(name, shared=True) for name in sorted(pipelines)),
        *(environment_lock(name, shared=True) for name in sorted(owners)),
    ]


def _others_at_work(
    connection: psycopg.Connection, environment: str, graph: Graph, pipeline_of: Mapping[str, str]
) -> dict[Lock, str]:
    """Keep loads and the owners of shared tables from writing until the cut is done; who is at work already."""
    tried = {lock: try_lock(connection, lock) for lock in locks_of_others(environment, graph, pipeline_of)}
    return {lock: f"{lock} is being written by {holder}" for lock, holder in tried.items() if holder is not None}


def _blocked(
    connection: psycopg.Connection,
    environment: str,
    graph: Graph,
    unfinished: Iterable[Mark],
    known: Mapping[str, int],
) -> list[str]:
    """What is unfinished, never computed, or older than what it reads."""
    raw = raw_tables(graph)
    owners = {node.owner for node in graph.values()} | {environment}
    reasons = []
    for mark in unfinished:
        if mark.kind == "load":
            relevant = bool(raw & set(mark.details.get("tables", ())))
        elif mark.kind == "deploy":
            relevant = mark.scope == environment
        else:
            # Another environment's unfinished model matters where its table is ours to read.
            node = graph.get(mark.subject)
            relevant = mark.scope in owners and node is not None and node.owner == mark.scope
        if relevant:
            reasons.append(f"unfinished: {mark}")
    wanting: dict[str, list[str]] = {}
    for name, node in sorted(graph.items()):
        if node.is_view:
            continue
        elsewhere = "" if node.owner == environment else f" ({node.owner} computes it)"
        if node.gap:
            wanting.setdefault(f"{node.gap}{elsewhere}", []).append(name)
        elif touched.since(connection, reached_raw_tables(graph, name), known.get(node.physical_table, 0)) is not None:
            wanting.setdefault(f"behind the raw tables that it reads{elsewhere}", []).append(name)
    return reasons + [f"{what}: {', '.join(names)}" for what, names in wanting.items()]


def _unchecked(
    connection: psycopg.Connection, graph: Graph, changes: Mapping[str, int], audit: Audit, *, run: str, snapshot: int
) -> Mapping[str, str]:
    """What failed its checks. Tables that changed since they were last checked are checked now: a deploy filled them,
    or SQLMesh's own command line did."""
    known = evidence.read(connection)
    # A view holds nothing: it is checked when something below it changed.
    unsettled = {
        name
        for name, node in graph.items()
        if max((changes.get(table, 0) for table in _stored_below(graph, name)), default=0)
        > known.get(node.stored_as, -1)
    }
    failures = audit(unsettled) if unsettled else {}
    evidence.record(
        connection, {graph[name].stored_as: snapshot for name in unsettled if name not in failures}, run=run
    )
    return failures


def _stored_below(graph: Graph, name: str) -> set[str]:
    """The tables with rows of their own that a model's answer comes from."""
    node = graph[name]
    if not node.is_view:
        return {node.stored_as}
    found = set(node.raw_tables)
    for upstream in node.upstream:
        if upstream in graph:
            found |= _stored_below(graph, upstream)
    return found


def raw_tables(graph: Graph) -> set[str]:
    """The tables that are no models, of all that these read."""
    return {table for node in graph.values() for table in node.raw_tables}


def _content(graph: Graph, name: str, changes: Mapping[str, int]) -> str:
    """The same whenever the model is the same and nothing below it has changed, in every environment."""
    below = sorted((table, changes.get(table, 0)) for table in _stored_below(graph, name))
    return hashlib.sha256(repr((graph[name].stored_as, below)).encode()).hexdigest()[:16]


def _differences(old: Mapping[str, ServedTable], tables: list[ServedTable]) -> list[str]:
    words = []
    for table in sorted(tables, key=lambda table: table.name):
        if table.name not in old:
            words.append(f"{table.name} is new")
        elif table.content != old[table.name].content:
            words.append(f"{table.name} changed")
        elif _described(table) != _described(old[table.name]):
            words.append(f"{table.name} is described anew")
    gone = sorted(old.keys() - {table.name for table in tables})
    return words + [f"{name} is no longer served" for name in gone]


def _described(table: ServedTable) -> ServedTable:
    return replace(table, view="", group="", snapshot=0, as_of="")


def changed_at(connection: psycopg.Connection, tables: Collection[str] | None = None) -> dict[str, int]:
    """`schema.table` in the lake -> the snapshot that last changed its rows, compaction left out; None: every table.

    Expiry keeps these snapshots, else an older content would seem to have come back.
    """
    rows = connection.execute(
        f"""
        WITH changed AS (
            SELECT found.parts[2]::bigint AS table_id, max(snapshot_id) AS snapshot_id
            FROM {METADATA_SCHEMA}.ducklake_snapshot_changes,
                regexp_matches(
                    changes_made, '(inserted_into_table|deleted_from_table|inlined_insert|inlined_delete):(\\d+)', 'g'
                ) AS found (parts)
            WHERE coalesce(author, '') <> %(maintenance)s
            GROUP BY 1
        )
        SELECT s.schema_name || '.' || t.table_name, greatest(t.begin_snapshot, changed.snapshot_id)
        FROM {METADATA_SCHEMA}.ducklake_table AS t
        JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
        LEFT JOIN changed USING (table_id)
        WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL
          AND (%(tables)s::text[] IS NULL OR s.schema_name || '.' || t.table_name = ANY(%(tables)s))
        """,
        {"tables": None if tables is None else list(tables), "maintenance": MAINTENANCE},
    ).fetchall()
    return {name: int(snapshot) for name, snapshot in rows}
