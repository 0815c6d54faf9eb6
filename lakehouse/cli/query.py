"""`lakehouse query` over releases: whom it asks, and what it makes of the answer."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from lakehouse.cli.answers import Format, Output, Rows, cut_of, show, write_pieces, write_records
from lakehouse.cli.console import SafeConsole, fail, out
from lakehouse.query.client import Client, LakehouseClient
from lakehouse.query.client.result import About, Stream
from lakehouse.settings import Settings

ALL_ROWS = 1_000_000_000
FILE_COLUMNS = 200


@dataclass(frozen=True)
class Asked:
    """The command line."""

    sql: str
    format: Format
    output: Output
    limit: int | None  # None: all
    environment: str | None  # None: the service's, or the token's
    release: int | None
    url: str
    token: str
    days: str
    combine: str
    at_once: int


def ask(settings: Settings, asked: Asked) -> None:
    """Answer on standard output or in a file; what went wrong on standard error, with exit code 1."""
    try:
        asked.output.check()
        with _client(settings, asked) as client:
            started = time.perf_counter()
            with _stream(client, asked) as stream:
                about = _write(stream, asked, started)
    except BrokenPipeError:
        # Whoever reads has enough (`| head`); Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        fail(error)
    if about.cut and (about.cut == "bytes" or about.rows < (asked.limit or ALL_ROWS)):
        fail(
            f"This is not all: the service's limit of {about.cut} cut the answer after {about.rows:,} rows. Ask for "
            "less, or raise LAKEHOUSE_QUERY_ROWS and LAKEHOUSE_QUERY_MB there."
        )


def _client(settings: Settings, asked: Asked) -> Client:
    if asked.url:
        return LakehouseClient(asked.url, asked.token, timeout=settings.query_seconds * 2)
    from lakehouse.query.client.local import LocalClient
    from lakehouse.releases.reading import find_release

    client = LocalClient(settings, workers=min(asked.at_once, settings.query_workers) if asked.days else 1)
    # Says what to do when there is none yet, which a service's callers could do nothing about.
    find_release(client.service.storage, asked.environment or settings.environment, asked.release)
    return client


@contextmanager
def _stream(client: Client, asked: Asked) -> Iterator[Stream]:
    if asked.days:
        yield _combined(client, asked)
        return
    with client.open(
        asked.sql, media_type=asked.format.media_type, release=asked.release, environment=asked.environment,
        limit=asked.limit or ALL_ROWS,
    ) as stream:  # fmt: skip
        yield stream


def _combined(client: Client, asked: Asked) -> Stream:
    from lakehouse.query.client.split import parse_days, rendered

    result = client.query_by_day(
        asked.sql, parse_days(asked.days), combine=asked.combine or None, at_once=asked.at_once,
        release=asked.release, environment=asked.environment, limit=ALL_ROWS,
    )  # fmt: skip
    table = result.arrow()
    if asked.limit and table.num_rows > asked.limit:
        table, result.cut = table.slice(0, asked.limit), "rows"
    result.rows = table.num_rows
    return Stream(result, iter([rendered([table], asked.format.media_type)]))


def _write(stream: Stream, asked: Asked, started: float) -> About:
    """Write the answer; what is known of it now."""
    about = stream.about
    if asked.format is Format.csv:
        with asked.output.opened() as to:
            write_pieces(stream.pieces, to)
        return about
    content = b"".join(stream.pieces)
    if asked.format.is_binary:
        about.rows, cut = cut_of(content, asked.format.media_type)
        about.cut = about.cut or cut
        with asked.output.opened() as to:
            to.write(content)
        return about
    answer = Rows.read(content)
    about.rows, about.cut = len(answer.rows), about.cut or answer.cut
    if not asked.days:
        about.execution_ms = answer.execution_ms
    if asked.format is Format.json:
        with asked.output.opened() as to:
            write_records(answer, to)
        return about
    round_trip_ms = (time.perf_counter() - started) * 1000
    if asked.output.path:
        with asked.output.opened() as to, io.TextIOWrapper(to, "utf-8") as file:
            show(answer, about, round_trip_ms, SafeConsole(file=file, width=FILE_COLUMNS))
    else:
        show(answer, about, round_trip_ms, out)
    return about
