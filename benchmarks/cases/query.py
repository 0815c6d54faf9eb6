"""The query service beside a bare in-process DuckDB on the same release, and beside the reference's own way."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import number
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

IDLE_SECONDS = 10.0
ROWS, ARROW_ROWS, CALLS, DAYS = 10_000_000, 1_000_000, 10_000, 10
THIS = "benchmarks.cases.query"
AGGREGATE = (
    "SELECT pickup_location, count(*) AS trips, sum(total_amount) AS amount FROM marts.trips "
    "GROUP BY pickup_location ORDER BY trips DESC LIMIT 200"
)
ARROW_QUERY = "SELECT trip_id, trip_date, pickup_location, total_amount, distance FROM marts.trips"
REFERENCE = {
    "count by location": "SELECT pickup_location, count(*) AS n FROM {trips} GROUP BY 1 ORDER BY 1",
    "top 200 locations": "SELECT pickup_location, count(*) AS n FROM {trips} GROUP BY 1 ORDER BY n DESC LIMIT 200",
    "count over 10 days": "SELECT count(*) AS n FROM {trips} WHERE trip_date < DATE '2024-01-11'",
}
MEDIA = {"json": "application/json", "arrow": "application/vnd.apache.arrow.stream"}


def measure(options: Options) -> Section:
    """One release of trips; everything in one child, which starts the service."""
    rows = options.scaled(ROWS, least=100_000)
    sizes = {
        "arrow_rows": min(rows, options.scaled(ARROW_ROWS, least=10_000)),
        "calls": options.scaled(CALLS, least=200),
        "repeats": max(10, options.scaled(40)),
        "seconds": max(2.0, 8.0 * min(1.0, options.scale)),
    }
    with throwaway() as lakehouse:
        lakehouse.call(f"{THIS}:fill", rows=rows)
        found = lakehouse.call(f"{THIS}:inside", **sizes)
    return _told(found, rows)


def _told(found: dict[str, Any], rows: int) -> Section:
    section = Section()
    one, load, arrow = found["one"], found["load"], found["arrow"]
    allowed = 1.15 * one["bare"] + 3
    section.judge(
        "warm aggregate at most 1.15 times bare DuckDB plus 3 ms at the median",
        f"{number(one['ours'])} ms of {number(allowed)} ms allowed, bare {number(one['bare'])} ms",
        one["ours"] <= allowed,
    )
    section.judge("a cached answer under 2 ms", f"{number(one['cached'])} ms at the median", one["cached"] < 2)
    section.judge("from process start to the first answer under 1 s", f"{number(found['start'])} s", found["start"] < 1)
    section.judge(
        "32 callers at once, cache off: at least 0.9 of bare DuckDB's throughput with the same threads, no error",
        f"{load['ours']['per_second'] / load['bare']['per_second']:.2f} of it, {load['ours']['errors']} errors",
        load["ours"]["per_second"] >= 0.9 * load["bare"]["per_second"] and not load["ours"]["errors"],
    )
    section.judge(
        f"{arrow['rows']:,} rows as Arrow at least half as fast as bare `to_arrow_table`",
        f"{arrow['bare'] / arrow['ours']:.2f} of its speed",
        arrow["ours"] <= 2 * arrow["bare"],
    )
    memory = found["memory"]
    section.judge(
        f"flat memory over {memory['calls']:,} statements (at most a tenth more than after a tenth of them)",
        f"{memory['early'] / 1e6:,.0f} MB, then {memory['late'] / 1e6:,.0f} MB",
        memory["late"] <= 1.1 * memory["early"],
    )
    section.say(f"{rows:,} trips in a release of {found['files']} files; {os.cpu_count()} cores.")
    section.table(
        ["", "ours", "bare DuckDB", "ratio"],
        [
            ["one caller, aggregate, ms", number(one["ours"]), number(one["bare"]), f"{one['ours'] / one['bare']:.2f}"],
            ["one caller, the same answer again, ms", number(one["cached"]), "", ""],
            ["32 callers, answers a second", number(load["ours"]["per_second"]), number(load["bare"]["per_second"]),
             f"{load['ours']['per_second'] / load['bare']['per_second']:.2f}"],
            ["32 callers, p99 ms", number(load["ours"]["p99"]), number(load["bare"]["p99"]), ""],
            ["32 callers, answers counted by the service", str(load["ours"]["counted"]), "", ""],
            ["32 callers, answers counted by them", str(load["ours"]["answers"]), str(load["bare"]["answers"]), ""],
            [f"{arrow['rows']:,} rows as Arrow, ms", number(arrow["ours"]), number(arrow["bare"]),
             f"{arrow['ours'] / arrow['bare']:.2f}"],
        ],
    )  # fmt: skip
    section.say(
        "The reference's own way: a function that opens DuckDB on the Parquet files for each call, holds the whole "
        "result and cuts it to 20 rows, here without a network."
    )
    section.table(
        ["question", "ours, ms", "reference's way, ms", "ratio"],
        [[name, number(a), number(b), f"{a / b:.2f}"] for name, (a, b) in found["reference"].items()],
    )
    split = found["split"]
    section.say(
        f"A count over {DAYS} days in one call took {number(split['one'])} ms, split by day over the workers "
        f"{number(split['days'])} ms, with the same total. A split pays where one statement can't use all cores or "
        "where each day's work is long beside a call's own 2–3 ms; on one machine DuckDB's threads do it already."
    )
    return section


def fill(rows: int) -> None:
    """In a child: trips of 30 days, released."""
    from lakehouse.lake.ducklake import Lake
    from lakehouse.lake.postgres import connect
    from lakehouse.releases import log, publishing
    from lakehouse.releases.tables import publish_table
    from lakehouse.settings import load_settings
    from lakehouse.writing.graph import ServedTable

    lake = Lake(load_settings())
    lake.bootstrap()
    with closing(lake.connect()) as connection:
        connection.execute(
            f"""
            CREATE TABLE lakehouse.marts.trips AS
            SELECT i AS trip_id, DATE '2024-01-01' + (i * 30 // {rows})::INT AS trip_date,
                (random() * 262)::INT AS pickup_location, (random() * 100)::DECIMAL(8, 2) AS total_amount,
                random() * 10 AS distance
            FROM range({rows}) t(i)
            """
        )
    table = ServedTable("marts.trips", "marts.trips", "marts.trips", "1")
    with closing(connect(lake.settings)) as connection:
        release = log.write(
            connection, "prod", lake.newest_snapshot(), [table],
            code_version="bench", run="bench", author="bench", changed=["bench"],
        )  # fmt: skip
        publishing.complete(lake, connection, release, (publish_table(lake, release, table, None).table,))


def inside(arrow_rows: int, calls: int, repeats: int, seconds: float) -> dict[str, Any]:
    """In a child: the service as a process of its own, bare DuckDB in this one, in turns."""
    from lakehouse.releases.manifest import read_manifest
    from lakehouse.releases.reading import connect_release
    from lakehouse.settings import load_settings
    from lakehouse.storage import open_storage

    settings = load_settings()
    connection, reading = connect_release(settings, "prod")
    manifest = read_manifest(open_storage(settings), reading.folder)
    assert manifest is not None
    connection.execute(AGGREGATE).fetchall()
    starts = []
    for _ in range(3):
        with running_service() as service:
            service.json(AGGREGATE)
            starts.append(time.perf_counter() - service.started)
    with running_service() as service:
        found = {
            "files": sum(len(table.files) for table in manifest.tables),
            "start": statistics.median(starts),
            "one": _one(service, connection, repeats),
            "load": {"ours": _load(service, seconds), "bare": _bare_load(connection, seconds)},
            "arrow": _arrow(service, connection, arrow_rows),
            "reference": _reference(service, settings, max(5, repeats // 4)),
            "split": _split(service, max(5, repeats // 4)),
            "memory": _memory(service, calls),
        }
    connection.close()
    return found


class _Service:
    """The service as a process, asked over one connection a thread."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, started: float, postgres_port: int = 0) -> None:
        self.process, self.port, self.started, self.postgres_port = process, port, started, postgres_port
        self._local = threading.local()

    def ask(self, sql: str, media: str = "json", *, cached: bool = False, **asked: Any) -> tuple[int, bytes]:
        """Status and body."""
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        if time.monotonic() - getattr(self._local, "asked_at", 0.0) > IDLE_SECONDS:
            client.close()  # the service has: it opens again by itself
        self._local.asked_at = time.monotonic()
        headers = {"content-type": "application/json", "accept": MEDIA[media]}
        client.request(
            "POST", "/query", json.dumps({"sql": sql, **asked}),
            headers if cached else {**headers, "cache-control": "no-store"},
        )  # fmt: skip
        reply = client.getresponse()
        return reply.status, reply.read()

    def json(self, sql: str, *, cached: bool = False, **asked: Any) -> Any:
        """The answer."""
        status, body = self.ask(sql, cached=cached, **asked)
        assert status == 200, body
        return json.loads(body)

    def counted(self) -> int:
        """How many statements the service itself has answered."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as client:
            client.request("GET", "/metrics")
            lines = client.getresponse().read().decode().splitlines()
        wanted = 'lakehouse_query_calls_total{outcome="answered",way="http"}'
        return next((round(float(line.split()[-1])) for line in lines if line.startswith(wanted)), 0)

    def resident(self) -> int:
        """Bytes that it and its workers hold."""
        import psutil

        process = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in [process, *process.children()])


@contextmanager
def running_service(*, postgres: bool = False) -> Iterator[_Service]:
    """It answers HTTP, and PostgreSQL's clients where that is asked for."""
    with closing(socket.socket()) as probe, closing(socket.socket()) as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, postgres_port = probe.getsockname()[1], other.getsockname()[1] if postgres else 0
    variables: Mapping[str, str] = {
        **os.environ, "LAKEHOUSE_QUERY_PORT": str(port), "LAKEHOUSE_QUERY_POSTGRES_PORT": str(postgres_port),
    }  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "lakehouse.query.http.server"], env=variables)
    try:
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.002)
        yield _Service(process, port, started, postgres_port)
    finally:
        process.terminate()
        process.wait(30)


def _milliseconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000


def medians(repeats: int, *functions: Callable[[], Any]) -> list[float]:
    """The median milliseconds of each, measured in turns."""
    found: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, found, strict=True):
            times.append(_milliseconds(function))
    return [statistics.median(times) for times in found]


def _one(service: _Service, connection: Any, repeats: int) -> dict[str, float]:
    with ThreadPoolExecutor(8) as callers:  # every worker has the release open
        list(callers.map(service.json, [AGGREGATE] * 16))
    ours, bare = medians(repeats, lambda: service.json(AGGREGATE), lambda: connection.execute(AGGREGATE).fetchall())
    service.json(AGGREGATE, cached=True)
    (cached,) = medians(repeats * 5, lambda: service.json(AGGREGATE, cached=True))
    return {"ours": ours, "bare": bare, "cached": cached}


def callers(
    seconds: float, ask: Callable[[], bool], prepare: Callable[[], None] = lambda: None, *, clients: int = 32
) -> dict[str, Any]:
    """Threads that ask again and again for so long."""
    times: list[float] = []
    errors = [0]
    begin = threading.Barrier(clients + 1)
    until = [0.0]

    def call() -> None:
        prepare()
        begin.wait()
        while time.perf_counter() < until[0]:
            started = time.perf_counter()
            if not ask():
                errors[0] += 1
            times.append((time.perf_counter() - started) * 1000)

    threads = [threading.Thread(target=call) for _ in range(clients)]
    for thread in threads:
        thread.start()
    until[0] = time.perf_counter() + seconds
    started = time.perf_counter()
    begin.wait()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    return {
        "answers": len(times) - errors[0], "errors": errors[0], "per_second": len(times) / took,
        "p99": sorted(times)[max(0, int(len(times) * 0.99) - 1)],
    }  # fmt: skip


def _load(service: _Service, seconds: float) -> dict[str, Any]:
    before = service.counted()
    found = callers(seconds, lambda: service.ask(AGGREGATE)[0] == 200)
    return found | {"counted": service.counted() - before}


def _bare_load(connection: Any, seconds: float) -> dict[str, Any]:
    local = threading.local()

    def prepare() -> None:
        local.session = connection.cursor()
        local.session.execute("USE lakehouse")

    def ask() -> bool:
        return bool(local.session.execute(AGGREGATE).fetchall())

    return callers(seconds, ask, prepare)


def _arrow(service: _Service, connection: Any, rows: int) -> dict[str, Any]:
    import pyarrow as pa

    def ours() -> None:
        status, body = service.ask(ARROW_QUERY, "arrow", limit=rows)
        assert status == 200
        assert pa.ipc.open_stream(body).read_all().num_rows == rows

    def bare() -> None:
        assert connection.execute(f"{ARROW_QUERY} LIMIT {rows}").to_arrow_table().num_rows == rows

    ours(), bare()
    found = medians(7, ours, bare)
    return {"rows": rows, "ours": found[0], "bare": found[1]}


def _reference(service: _Service, settings: Any, repeats: int) -> dict[str, list[float]]:
    """Our service, and a function that opens DuckDB on Parquet, materializes and cuts."""
    import duckdb

    files = f"read_parquet('{settings.storage_uri}/published/prod/data/marts/trips/**/*.parquet')"

    def handler(sql: str) -> list[dict[str, Any]]:
        with closing(duckdb.connect()) as session:
            result = session.execute(sql)
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()][:20]

    found = {}
    for name, sql in REFERENCE.items():
        ours, theirs = sql.format(trips="marts.trips"), sql.format(trips=files)
        found[name] = medians(repeats, lambda ours=ours: service.json(ours), lambda theirs=theirs: handler(theirs))
    return found


def _split(service: _Service, repeats: int) -> dict[str, float]:
    """A count over ten days in one call, and by day at once."""
    one = "SELECT count(*) AS n FROM marts.trips WHERE trip_date BETWEEN $first::DATE AND $last::DATE"
    day = "SELECT count(*) AS n FROM marts.trips WHERE trip_date = $day::DATE"
    days = [f"2024-01-{number:02d}" for number in range(1, DAYS + 1)]
    totals = set()
    with ThreadPoolExecutor(DAYS) as callers:

        def at_once() -> None:
            totals.add(service.json(one, parameters={"first": days[0], "last": days[-1]})["rows"][0][0])

        def by_day() -> None:
            parts = callers.map(lambda when: service.json(day, parameters={"day": when})["rows"][0][0], days)
            totals.add(sum(parts))

        found = medians(repeats, at_once, by_day)
    assert len(totals) == 1, totals
    return {"one": found[0], "days": found[1]}


def _memory(service: _Service, calls: int) -> dict[str, Any]:
    """Different statements, so that none is answered from the cache of plans or answers."""
    for number_ in range(calls):
        service.json(f"SELECT count(*), {number_} AS nth FROM marts.trips WHERE trip_id < {number_}", cached=True)
        if number_ == calls // 10:
            early = service.resident()
    return {"calls": calls, "early": early, "late": service.resident()}


CASE = Case(
    "query",
    "The query service",
    "Questions over HTTP to the service, cold or warm as said, beside the same statement in a bare DuckDB in the "
    "asking process, with the same release attached and the same number of threads.",
    measure,
)
