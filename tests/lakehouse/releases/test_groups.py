"""Tables that share what they are made of move together; what has nothing to do with a failure does not wait for it."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import psycopg
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lakehouse.cli.releases import app
from lakehouse.cli.status import render_status
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.query.engine.releases import Releases
from lakehouse.releases import held, log, pages, publishing
from lakehouse.releases.groups import groups
from lakehouse.releases.manifest import Manifest
from lakehouse.releases.reading import connect_release
from lakehouse.releases.rule import Act, Cut, cut
from lakehouse.releases.tables import PublishError, publish_table
from lakehouse.upkeep.maintenance import snapshots
from lakehouse.writing import marks, touched
from lakehouse.writing.graph import Graph, Node, ServedTable
from lakehouse.writing.locks import environment_lock, holding, pipeline_lock
from lakehouse.writing.runs import computing
from lakehouse.writing.touched import Touched

DAY = (datetime(2024, 1, 1), datetime(2024, 1, 2))
ACT = Act("run", "tester", "v1")


def node(name: str, *upstream: str, raw: Collection[str] = (), served: bool = True, tag: str = "") -> Node:
    """A model that is stored under its own name."""
    return Node(
        name, frozenset(upstream), frozenset(raw), owner="prod", stored_as=name,
        served=ServedTable(name, name, name, "") if served else None,
        bound_by=frozenset({f"release_group:{tag}"} if tag else ()),
    )  # fmt: skip


def tables_of(graph: Graph, pipeline_of: Mapping[str, str] | None = None) -> list[tuple[str, ...]]:
    return [group.tables for group in groups(graph, pipeline_of or {})]


def test_what_binds_tables_is_what_they_are_made_of() -> None:
    alone = {"m.a": node("m.a", raw=["raw.a"]), "m.b": node("m.b", raw=["raw.b"])}
    assert tables_of(alone) == [("m.a",), ("m.b",)]
    assert tables_of(alone, {"raw.a": "shop", "raw.b": "shop"}) == [("m.a", "m.b")]
    shared = {name: node(name, "s.s") for name in ("m.a", "m.b")} | {"s.s": node("s.s", served=False)}
    assert tables_of(shared) == [("m.a", "m.b")]
    # What only reads them binds nobody, and a group of one tag moves together.
    below = alone | {"m.c": node("m.c", "m.a", "m.b", served=False)}
    assert tables_of(below) == [("m.a",), ("m.b",)]
    assert tables_of({name: node(name, tag="sales") for name in ("m.a", "m.b")}) == [("m.a", "m.b")]


@dataclass
class World:
    """Models whose tables say which load of each pipeline they were made of."""

    lake: Lake
    connection: psycopg.Connection
    pipeline_of: dict[str, str]
    graph: dict[str, Node]
    loads: dict[str, int] = field(default_factory=dict)
    made: dict[str, dict[str, int | bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.duckdb = self.lake.connect()
        self.duckdb.execute("SET ducklake_max_retry_count = 100")
        for raw, pipeline in self.pipeline_of.items():
            self.loads[pipeline] = 0
            self.duckdb.execute(f"CREATE TABLE {raw} (load INT)")

    def load(self, pipeline: str, *, killed: bool = False) -> None:
        """All tables of the pipeline are new; a killed one leaves its mark."""
        self.loads[pipeline] += 1
        tables = [raw for raw, owner in self.pipeline_of.items() if owner == pipeline]
        snapshot = self.lake.newest_snapshot()
        marks.write(self.connection, "load", pipeline, run="a load", snapshot=snapshot, details={"tables": tables})
        for raw in tables:
            self.duckdb.execute(f"INSERT INTO {raw} VALUES ({self.loads[pipeline]})")
            change = Touched(raw, [DAY], 1, 0)
            touched.record(self.connection, change, pipeline=pipeline, run="load", snapshot=snapshot)
        if not killed:
            marks.clear(self.connection, "load", pipeline)

    def compute(self, names: Collection[str], failing: Collection[str] = ()) -> None:
        """As a run does: what stands on a failed model is not tried, everything else is."""
        unfinished = {mark.scope for mark in marks.read(self.connection, "load")}
        names = [name for name in names if not self.pipelines(name) & unfinished]
        with suppress(RuntimeError):
            with computing(self.lake, "prod", lambda: self.graph, names, self.pipeline_of, run="run") as run:
                left = set[str]()
                for name, one in self.graph.items():  # upstream first
                    if name not in names or one.upstream & left:
                        left |= {name} if one.upstream & left else set()
                        continue
                    said: dict[str, int | bool] = {"bad": name in failing}
                    for above in one.upstream:
                        said |= {key: value for key, value in self.made.get(above, {}).items() if key != "bad"}
                    said |= {self.pipeline_of[raw]: self.loads[self.pipeline_of[raw]] for raw in one.raw_tables}
                    self.write(name, said)
                    if name in failing:
                        left.add(name)
                    else:
                        run.done(name, checked_at=self.lake.newest_snapshot())
                        self.graph[name] = replace(one, gap="")
                if left:
                    raise RuntimeError

    def write(self, name: str, said: dict[str, int | bool]) -> None:
        self.made[name] = said
        table = self.graph[name].stored_as
        self.duckdb.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT ? AS says", [json.dumps(said)])

    def pipelines(self, name: str) -> set[str]:
        mine = {self.pipeline_of[raw] for raw in self.graph[name].raw_tables}
        return mine.union(*(self.pipelines(above) for above in self.graph[name].upstream))

    def audit(self, names: Collection[str]) -> dict[str, str]:
        return {name: "audit not_bad found 1 row" for name in names if self.made.get(name, {}).get("bad")}

    def cut(self) -> Cut:
        with holding(self.lake.settings, [environment_lock("prod")], holder="run") as connection:
            return cut(self.lake, connection, "prod", self.graph, self.pipeline_of, ACT, self.audit)

    def says(self, release: log.Release) -> dict[str, dict[str, int | bool]]:
        """What each table of the release says at the snapshot at which it is taken."""
        found = {}
        for table in release.tables:
            row = self.duckdb.execute(
                f"SELECT says FROM {table.physical_table} AT (VERSION => {release.snapshot_of(table)})"
            ).fetchone()
            assert row is not None
            found[table.name] = json.loads(row[0])
        return found

    def newest(self) -> log.Release:
        found = log.newest(self.connection, "prod")
        assert found is not None
        return found


@pytest.fixture
def ledger(lake: Lake) -> Iterator[psycopg.Connection]:
    with closing(connect(lake.settings)) as connection:
        yield connection


@pytest.fixture
def two_groups(lake: Lake, ledger: psycopg.Connection) -> Iterator[World]:
    """Two sources, one with two marts over one staging model."""
    graph = {
        "staging.shop": node("staging.shop", raw=["raw.orders"], served=False),
        "marts.orders": node("marts.orders", "staging.shop"),
        "marts.totals": node("marts.totals", "staging.shop"),
        "marts.weather": node("marts.weather", raw=["raw.weather"]),
        "marts.nobody": node("marts.nobody", raw=["raw.weather"], served=False),
    }
    world = World(lake, ledger, {"raw.orders": "shop", "raw.weather": "sky"}, graph)
    for pipeline in ("shop", "sky"):
        world.load(pipeline)
    with closing(world.duckdb):
        yield world


def test_a_failed_model_holds_back_its_group_and_no_other(two_groups: World) -> None:
    world = two_groups
    world.compute(world.graph)
    first = world.cut().release
    assert first is not None and len(first.tables) == 3
    log.published(world.connection, first)
    for pipeline in ("shop", "sky"):
        world.load(pipeline)
    world.compute(world.graph, failing=["marts.totals"])
    done = world.cut()
    assert done.release is not None
    assert done.release.changed == ("marts.weather changed",)
    assert world.says(done.release)["marts.orders"]["shop"] == 1
    assert "Held back since" in str(done) and "marts.orders, marts.totals:" in str(done)
    assert "model of marts.totals in prod, left unfinished by run" in str(done)
    (since,) = held.read(world.connection, "prod")
    # Still held, since then; a release that changes nothing is none.
    assert world.cut().release is None
    assert held.read(world.connection, "prod") == (since,)
    world.compute(["marts.totals"])
    healed = world.cut()
    assert healed.release is not None and not healed.held
    assert {table: said["shop"] for table, said in world.says(healed.release).items() if "shop" in said} == {
        "marts.orders": 2, "marts.totals": 2,
    }  # fmt: skip
    assert len({healed.release.snapshot_of(table) for table in healed.release.tables}) == 1
    assert held.read(world.connection) == ()


def test_pages_are_released_with_tables_and_never_alone(two_groups: World) -> None:
    world = two_groups
    world.connection.execute(
        "INSERT INTO ledger.deployments (environment, content_key, plan_id, run) VALUES ('prod', '', '', 'test')"
    )
    pages.note(world.connection, "prod", {"sales": "# Sales"})
    assert world.cut().release is None, "no table is computed"
    world.compute(world.graph)
    first = world.cut().release
    assert first is not None and first.pages == {"sales": "# Sales"} and "page sales is new" in first.changed
    assert world.cut().release is None
    pages.note(world.connection, "prod", {"sales": "# Our sales", "sky": "# Sky"})
    world.load("shop")  # its tables stay behind: pages move nevertheless
    second = world.cut().release
    assert second is not None and second.changed == ("page sales changed", "page sky is new")
    assert [table.content for table in second.tables] == [table.content for table in first.tables]
    pages.note(world.connection, "prod", {"sky": "# Sky"})
    third = world.cut().release
    assert third is not None and third.changed == ("page sales is gone",)


def test_what_no_reader_sees_holds_nobody(two_groups: World) -> None:
    two_groups.compute(two_groups.graph, failing=["marts.nobody"])
    done = two_groups.cut()
    assert done.release is not None and not done.held


def test_a_load_at_work_holds_back_what_it_feeds(two_groups: World) -> None:
    world = two_groups
    world.compute(world.graph)
    with holding(world.lake.settings, [pipeline_lock("shop")], holder="load"):
        done = world.cut()
    assert done.release is not None and [table.name for table in done.release.tables] == ["marts.weather"]
    assert "pipeline shop is being written by lakehouse load" in str(done)
    rest = world.cut()
    assert rest.release is not None and rest.release.changed == ("marts.orders is new", "marts.totals is new")


def test_tables_that_belonged_together_do_not_part_while_one_is_held(two_groups: World) -> None:
    """Readers have both as one snapshot had them: a deploy that parts them lets neither go before the other."""
    world = two_groups
    world.compute(world.graph)
    first = world.cut().release
    assert first is not None
    log.published(world.connection, first)
    world.graph["marts.totals"] = replace(node("marts.totals", raw=["raw.weather"]), gap="never computed")
    world.load("shop")
    world.compute(["staging.shop", "marts.orders"])
    done = world.cut()
    assert done.release is None and "never computed: marts.totals" in str(done)
    world.compute(["marts.totals"])
    done = world.cut()
    assert done.release is not None and not done.held
    assert sorted(table.group for table in done.release.tables) == ["marts.orders", "marts.totals", "marts.totals"]


def publish(world: World, release: log.Release) -> Manifest:
    with publishing.publishing(world.lake, "prod", run="test") as connection:
        before = publishing.last_manifest(world.lake, connection, "prod")
        tables = tuple(publish_table(world.lake, release, table, before).table for table in release.tables)
        return publishing.complete(world.lake, connection, release, tables)


def read(world: World, number: int | None = None) -> dict[str, int]:
    connection, _ = connect_release(world.lake.settings, "prod", number)
    with closing(connection):
        rows = connection.execute(
            "SELECT 'orders', says FROM marts.orders UNION ALL SELECT 'weather', says FROM marts.weather"
        ).fetchall()
    return {name: next(value for key, value in json.loads(said).items() if key != "bad") for name, said in rows}


def shown(world: World) -> str:
    """What `lakehouse releases` and `lakehouse status` say."""
    said = Console(width=200, file=io.StringIO())
    said.print(render_status(world.lake))
    return CliRunner().invoke(app, ["releases", "prod"]).output + said.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_group_that_is_held_back_keeps_its_files_for_as_long_as_it_takes(two_groups: World) -> None:
    world = two_groups
    world.compute(world.graph)
    first = world.cut().release
    assert first is not None
    publish(world, first)
    for number in (2, 3):
        for pipeline in ("shop", "sky"):
            world.load(pipeline)
        world.compute(world.graph, failing=["marts.totals"])
        release = world.cut().release
        assert release is not None and release.number == number
        with closing(world.lake.connect()) as connection:  # the lake forgets what the held tables were
            connection.execute(f"CALL ducklake_expire_snapshots('lakehouse', versions => [{first.snapshot}])")
        manifest = publish(world, release)
        assert [one["tables"] for one in manifest.held] == [("marts.orders", "marts.totals")]
        assert read(world) == {"orders": 1, "weather": number}
        told = shown(world)
        assert told.count("marts.orders, marts.totals") == 2 and "Held back since" in told
        listing = Releases(world.lake.storage).find("prod").listing()
        as_of = {table["name"]: table["as_of"] for table in listing["tables"]}
        assert as_of["marts.orders"] == f"{first.cut_at:%Y-%m-%dT%H:%M:%SZ}" <= as_of["marts.weather"]
        assert "left unfinished by run" in listing["held_back"][0]["reasons"][0]
        orders = manifest.find("marts.orders")
        assert orders is not None and (orders.snapshot, orders.group) == (first.snapshot, "marts.orders")
    with publishing.publishing(world.lake, "prod", run="test") as connection:
        assert publishing.prune(world.lake, connection, "prod", 1)[0] == [2, 1]
    assert read(world) == {"orders": 1, "weather": 3}
    snapshots.expire(world.lake, grace_seconds=0)
    world.compute(world.graph)
    healed = world.cut().release
    assert healed is not None
    publish(world, healed)
    assert read(world) == {"orders": 3, "weather": 3}
    publishing.rollback(world.lake, "prod", 3, by="ann")
    assert read(world) == {"orders": 1, "weather": 3}


def test_what_is_published_is_published_again_when_the_lake_has_forgotten_its_snapshot(two_groups: World) -> None:
    """A run of the publish job that finds nothing new looks at the newest release again."""
    world = two_groups
    world.compute(world.graph)
    first = world.cut().release
    assert first is not None
    manifest = publish(world, first)
    with closing(world.lake.connect()) as connection:
        connection.execute(f"CALL ducklake_expire_snapshots('lakehouse', versions => [{first.snapshot}])")
    for table in world.newest().tables:
        again = publish_table(world.lake, world.newest(), table, manifest)
        assert again.table == manifest.find(table.name) and not again.files_written


@pytest.mark.slow
def test_a_table_that_cannot_be_published_leaves_the_others_their_release(two_groups: World) -> None:
    world = two_groups
    world.compute(world.graph)
    first = world.cut().release
    assert first is not None
    publish(world, first)
    for pipeline in ("shop", "sky"):
        world.load(pipeline)
    world.compute(world.graph)
    release = world.cut().release
    assert release is not None
    error = PublishError("marts.totals could not be written: no such name", "marts.totals")
    for _ in range(publishing.FAILURES_BEFORE_GIVING_UP):
        said = publishing.explain_failure(world.lake, world.connection, release, error)
    assert "marts.orders, marts.totals stay as readers have them" in said
    waiting = publishing.next_candidate(world.lake, world.connection, "prod", print)
    assert waiting is not None and waiting.changed == ("marts.weather changed",)
    publish(world, waiting)
    assert read(world) == {"orders": 1, "weather": 2}
    # The next cut tries all of them again.
    world.load("sky")
    world.compute(world.graph)
    again = world.cut().release
    assert again is not None and not held.read(world.connection)
    publish(world, again)
    assert read(world) == {"orders": 2, "weather": 3}


def drawn(chance: random.Random, count: int) -> tuple[dict[str, Node], dict[str, str]]:
    """Models over models over raw tables, at random."""
    pipeline_of = {"raw.a1": "a", "raw.a2": "a", "raw.b": "b", "raw.c": "c", "raw.d": "d"}
    graph: dict[str, Node] = {}
    for i in range(count):
        name = f"marts.m{i}"
        graph[name] = drawn_node(chance, name, list(graph), list(pipeline_of))
    return graph, pipeline_of


def drawn_node(chance: random.Random, name: str, above: list[str], raw: list[str]) -> Node:
    upstream = chance.sample(above, min(len(above), chance.choice([0, 0, 1, 1, 2])))
    sources = [] if upstream and chance.random() < 0.7 else [chance.choice(raw)]
    tag = "bound" if chance.random() < 0.1 else ""
    return node(name, *upstream, raw=sources, served=chance.random() < 0.6, tag=tag)


@pytest.mark.parametrize(
    ("seed", "rounds"), [(3, 8), *(pytest.param(seed, 25, marks=pytest.mark.proof) for seed in range(100, 130))]
)
def test_no_group_is_ever_of_two_minds_and_no_other_waits(
    lake: Lake, ledger: psycopg.Connection, seed: int, rounds: int
) -> None:
    """Random models, failures, killed loads and deploys: what readers get agrees, and moves where it can."""
    chance = random.Random(seed)
    graph, pipeline_of = drawn(chance, 8)
    world = World(lake, ledger, pipeline_of, graph)
    for pipeline in world.loads:
        world.load(pipeline)
    world.compute(graph)
    world.cut()
    parted = False
    with closing(world.duckdb):
        for _ in range(rounds):
            if chance.random() < 0.15:  # a deploy
                name = chance.choice(sorted(graph))
                above = [other for other in graph if other < name]
                anew = drawn_node(chance, name, above, list(pipeline_of))
                stored = f"{name}_{chance.randrange(10**6)}"
                served = ServedTable(name, stored, stored, "") if anew.served else None
                graph[name] = replace(
                    anew, physical_table=stored, stored_as=stored, served=served, gap="never computed"
                )
                parted = True
            for pipeline in chance.sample(sorted(world.loads), chance.choice([0, 1, 2])):
                world.load(pipeline, killed=chance.random() < 0.3)
            names = sorted(graph) if chance.random() < 0.7 else chance.sample(sorted(graph), 4)
            world.compute(names, failing=[name for name in names if chance.random() < 0.08])
            done = world.cut()
            if log.newest(ledger, "prod") is None:
                continue
            release = world.newest()
            said = world.says(release)
            check_agreement(world, release, said)
            parted = parted and bool(done.held)
            if not parted:
                check_progress(world, said)
            if release.state == "cut" and chance.random() < 0.8:
                log.published(ledger, release)
            elif release.state == "cut" and chance.random() < 0.5:
                log.give_up(ledger, release, "by chance")


def check_agreement(world: World, release: log.Release, said: dict[str, dict[str, int | bool]]) -> None:
    seen: dict[str, tuple[str, int | bool]] = {}
    for name, what in said.items():
        assert not what["bad"], name
        for pipeline in what.keys() - {"bad"}:
            other, load = seen.setdefault(pipeline, (name, what[pipeline]))
            assert load == what[pipeline], f"{name} and {other} are of two loads of {pipeline} in {release}"
    bound = {
        release.snapshot_of(table)
        for table in release.tables
        if not table.snapshot and table.name in world.graph and world.graph[table.name].bound_by
    }
    assert len(bound) <= 1


def check_progress(world: World, said: dict[str, dict[str, int | bool]]) -> None:
    """Every table that nothing wrong is connected with says what the lake's head says."""
    unfinished = {mark.scope for mark in marks.read(world.connection, "load")}
    failed = {mark.subject for mark in marks.read(world.connection, "model")}
    for group in groups(world.graph, world.pipeline_of):
        wrong = [
            name
            for name in group.graph
            if name in failed
            or world.graph[name].gap
            or world.pipelines(name) & unfinished
            or world.made[name].get("bad")
            or any(world.made[name].get(pipeline) != world.loads[pipeline] for pipeline in world.pipelines(name))
        ]
        if not wrong:
            for name in group.tables:
                assert said[name] == world.made[name], name
