"""PostgreSQL: the embedded server's processes, the connection, its room, the clocks, the lakes in it."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from psycopg import sql

from lakehouse.lake.ducklake import METADATA_SCHEMA
from lakehouse.landing.zones import LANDING
from lakehouse.storage.s3 import S3Storage
from lakehouse.upkeep.doctor.embedded import State
from lakehouse.upkeep.doctor.examination import Examination, UnableError, reason
from lakehouse.upkeep.doctor.findings import Finding, Seen, warning, wrong

OLDEST_VERSION = 14
CLOCK_SECONDS = 5.0
CONNECTIONS_SHARE = 0.8
CONNECTIONS_WANTED = 100
"""What `make up` and a few runs open at a busy hour."""


def server(examination: Examination) -> Seen:
    """The embedded server is either used or not there: no orphan, no remains of a killed one."""
    found = examination.server
    if found is None:
        return Seen("not embedded: LAKEHOUSE_POSTGRES_URL names one")
    log = found.folder / "log"
    if found.state is State.ORPHANED:
        since = f" since {datetime.fromtimestamp(found.since, UTC):%Y-%m-%d %H:%M} UTC" if found.since else ""
        return Seen(
            "",
            (
                warning(
                    f"an embedded PostgreSQL runs{since}, and nobody uses it",
                    where=f"process {found.pid}, {found.folder}",
                    why="Whoever started it was killed. It keeps its memory and its files open, so that a "
                    "copy or a move "
                    "of the folder would be broken.",
                    do=f"`lakehouse status` joins it and stops it properly on leaving; or: kill -INT {found.pid}",
                ),
            ),
        )
    if found.state is State.KILLED:
        return Seen(
            "",
            (
                warning(
                    "the embedded PostgreSQL was killed: it left a postmaster.pid without a process",
                    where=f"{found.folder / 'postmaster.pid'}, process {found.pid}",
                    why="The next start recovers what was committed. Until then the checks of the "
                    "database are left out.",
                    do=f"`lakehouse status` starts it; then `lakehouse doctor` again. Its log: {log}",
                ),
            ),
        )
    if found.state is State.ABSENT:
        return Seen(
            "",
            (
                warning(
                    "there is no lake yet: not even the embedded PostgreSQL was made",
                    where=str(found.folder),
                    why="If there should be one, LAKEHOUSE_DATA_DIR or LAKEHOUSE_POSTGRES_URL names another place.",
                    do="`make demo`, or `lakehouse bootstrap` for an empty one.",
                ),
            ),
        )
    return Seen(f"embedded, {found.state.value}" + (f", process {found.pid}" if found.pid else ""))


def database(examination: Examination) -> Seen:
    """PostgreSQL answers, is new enough, and has room for connections."""
    embedded = examination.server
    try:
        connection = examination.postgres
    except UnableError as error:
        if embedded and embedded.state in (State.ABSENT, State.KILLED):
            raise
        place = _address(examination) if embedded is None else f"the embedded server in {embedded.folder}"
        return Seen(
            "",
            (
                wrong(
                    str(error),
                    where=place,
                    why="Catalog, state, ledger and Dagster's storage are in there: nothing works.",
                    do="Start it, and check LAKEHOUSE_POSTGRES_URL."
                    if embedded is None
                    else f"Its log says why: {embedded.folder / 'log'}",
                ),
            ),
        )
    row = connection.execute(
        "SELECT current_setting('server_version_num')::int / 10000, current_setting('max_connections')::int, count(*) "
        "FROM pg_stat_activity WHERE backend_type = 'client backend'"
    ).fetchone()
    assert row is not None
    version, most, used = map(int, row)
    findings: list[Finding] = []
    if version < OLDEST_VERSION:
        findings.append(
            wrong(
                f"PostgreSQL is version {version}",
                where=_address(examination),
                why=f"Multiranges, which the ledger stores, came with {OLDEST_VERSION}.",
                do=f"Use PostgreSQL {OLDEST_VERSION} or newer; 18 is what the tests use.",
            )
        )
    if used > most * CONNECTIONS_SHARE or most < CONNECTIONS_WANTED:
        findings.append(
            warning(
                f"{used} of {most} connections are taken"
                if most >= CONNECTIONS_WANTED
                else f"PostgreSQL lets {most} connections in, and {CONNECTIONS_WANTED} are wanted",
                where=_address(examination),
                why="Dagster, SQLMesh, dlt and each DuckDB open some: runs would be refused.",
                do="ALTER SYSTEM SET max_connections = 300; then restart PostgreSQL.",
            )
        )
    return Seen(f"PostgreSQL {version} answers, {used} of {most} connections are taken", tuple(findings))


def _address(examination: Examination) -> str:
    """Where PostgreSQL is, without user and password."""
    if examination.server is not None:
        return str(examination.server.folder)
    parts = urlsplit(examination.settings.postgres_url.get_secret_value())
    host = f"{parts.hostname or 'localhost'}:{parts.port or 5432}"
    return f"{host}, database {parts.path.strip('/')}"


def clocks(examination: Examination) -> Seen:
    """This machine, PostgreSQL and the object store agree what time it is."""
    apart: dict[str, float] = {}
    unable: list[str] = []
    try:
        started = examination.seconds()
        row = examination.postgres.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        assert row is not None
        apart["PostgreSQL"] = float(row[0]) - (started + examination.seconds()) / 2
    except UnableError as error:
        unable.append(str(error))
    try:
        storage = examination.storage
        if isinstance(storage, S3Storage) and (told := _stores_time(storage)):
            apart["the object store"] = told - examination.seconds()
    except UnableError as error:
        unable.append(str(error))
    if not apart:
        raise UnableError(unable[0] if unable else "there is no other clock")
    findings = [
        wrong(
            f"the clock of {name} is {abs(seconds):,.0f} seconds {'ahead' if seconds > 0 else 'behind'}",
            where=f"here it is {datetime.fromtimestamp(examination.seconds(), UTC):%Y-%m-%d %H:%M:%S} UTC",
            why="Marks, releases and partitions get times that are out of order; a store refuses signatures that are "
            "15 minutes off.",
            do="`timedatectl set-ntp true` on each machine; `timedatectl status` shows whether it is synchronized.",
        )
        for name, seconds in apart.items()
        if abs(seconds) > CLOCK_SECONDS
    ]
    return Seen(f"this machine and {' and '.join(apart)} agree within {CLOCK_SECONDS:g} s", tuple(findings))


def _stores_time(storage: S3Storage) -> float | None:
    """Seconds since 1970, by the Date of an answer, which is cut to a second. None where it has none.

    Raises UnableError when the store can't be asked.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:  # Who may list only the lake's part of the bucket must name it.
        prefix = f"{storage.prefix}/{LANDING}/".lstrip("/")
        reply = storage.client.list_objects_v2(Bucket=storage.bucket, Prefix=prefix, MaxKeys=1)
    except (ClientError, BotoCoreError) as error:
        raise UnableError(f"the object store can't be asked for its time: {reason(error)}") from None
    told = reply["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    if not told:
        return None
    return datetime.strptime(told, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp() + 0.5


def lakes(examination: Examination) -> Seen:
    """There is one lake in the database, and it is the one that everybody attaches."""
    connection = examination.postgres
    schemas = [
        name
        for (name,) in connection.execute(
            "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE relname = 'ducklake_snapshot' AND relkind = 'r' ORDER BY nspname"
        ).fetchall()
    ]
    if not schemas:
        return Seen(
            "",
            (
                wrong(
                    "there is no lake yet",
                    where=f"schema {METADATA_SCHEMA} in PostgreSQL",
                    why="Nothing can be loaded or asked.",
                    do="`make demo`, or `lakehouse bootstrap` for an empty one.",
                ),
            ),
        )
    shown = []
    for schema in schemas:
        row = connection.execute(
            sql.SQL(
                "SELECT max(snapshot_id), (SELECT count(*) FROM {0}.ducklake_table WHERE end_snapshot IS NULL) "
                "FROM {0}.ducklake_snapshot"
            ).format(sql.Identifier(schema))
        ).fetchone()
        shown.append(f"{schema} (snapshot {row[0]}, {row[1]} tables)" if row else schema)
    if schemas == [METADATA_SCHEMA]:
        return Seen(f"one lake: {shown[0]}")
    others = ", ".join(schema for schema in schemas if schema != METADATA_SCHEMA)
    missing = METADATA_SCHEMA not in schemas
    return Seen(
        "",
        (
            wrong(
                f"ours is missing, and another lake is there: {others}"
                if missing
                else f"{len(schemas)} lakes are in one database",
                where=f"PostgreSQL's schemas {', '.join(shown)}",
                why=f"A client that attaches without METADATA_SCHEMA '{METADATA_SCHEMA}' sees, and fills, "
                "another lake: "
                "rows that it loads never reach the models.",
                do=f"Attach with METADATA_SCHEMA '{METADATA_SCHEMA}' everywhere (dlt: its ducklake_name). "
                "Look what the "
                f"other holds (ATTACH … (METADATA_SCHEMA '{others.split(', ')[0]}')) before you drop its "
                "ducklake_ tables.",
            ),
        ),
    )
