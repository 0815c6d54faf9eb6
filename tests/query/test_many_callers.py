"""Many callers: short statements pass long ones, and several services over one zone need nothing of each other."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import cycle
from urllib.parse import urlsplit

import httpx
import pytest

from lakehouse.query.engine import tokens
from tests import calls
from tests.lakehouse.releases.conftest import Publisher
from tests.query.conftest import Service, serving

HOG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7 -- {}"
SHORT = "SELECT count(*) + {} AS n FROM marts.names"


@pytest.fixture(scope="module")
def patient(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that stops no statement."""
    folder = tmp_path_factory.mktemp("patient")
    with serving(publisher.lake.settings, folder, LAKEHOUSE_QUERY_SECONDS="3600") as running:
        yield running


def hog(service: Service, number: int) -> socket.socket:
    """A caller whose statement takes for ever; he leaves when it is closed."""
    address = urlsplit(service.url)
    body = json.dumps({"sql": HOG.format("x" * number)}).encode()
    connection = socket.create_connection((address.hostname, address.port))
    head = "POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    connection.sendall(head.format(len(body)).encode() + body)
    return connection


@pytest.mark.slow
def test_short_statements_are_answered_while_four_hogs_take_all_they_get(patient: Service) -> None:
    def gauge(name: str) -> float:
        lines = calls.get(f"{patient.url}/metrics", timeout=60).text.splitlines()
        return float(next(line for line in lines if line.startswith(f"lakehouse_query_{name} ")).split()[1])

    hogs = [hog(patient, number) for number in range(4)]
    try:
        while gauge("at_work") + gauge("waiting") < 4:
            pass
        with ThreadPoolExecutor(60) as callers:
            replies = list(callers.map(lambda number: patient.rows(SHORT.format(number)), range(60)))
        assert replies == [[[2 + number]] for number in range(60)]
        assert gauge("at_work") + gauge("waiting") == 4  # all hogs are there still
    finally:
        for one in hogs:
            one.close()


@contextmanager
def balanced(*services: Service) -> Iterator[str]:
    """One address before several services: a connection goes to the next of them, or, when that is gone, to another."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    turns, address = cycle(services), list[str]()

    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65_536):
                to.write(piece)
                await to.drain()
        except ConnectionError:
            pass
        finally:
            to.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in services:
            target = urlsplit(next(turns).url)
            try:
                back_reader, back_writer = await asyncio.open_connection(target.hostname, target.port)
            except OSError:
                continue
            await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer))
            return
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(forward, "127.0.0.1", 0)
        address.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ready.set()
        async with server:
            await server.serve_forever()

    running = loop.create_task(serve())

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(running)

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(running.cancel)
        thread.join()
        loop.close()


@pytest.mark.slow
def test_two_services_behind_one_address_need_nothing_of_each_other(
    patient: Service, publisher: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = publisher.lake
    with (
        serving(lake.settings, tmp_path_factory.mktemp("second")) as second,
        balanced(patient, second) as url,
        httpx.Client(base_url=url, headers={"connection": "close"}, timeout=60) as client,
    ):
        token = tokens.create(lake.storage, "both", ["prod"], by="test", rows=1)
        given, sql = {"authorization": f"Bearer {token}"}, {"sql": "SELECT i FROM marts.days ORDER BY i"}
        # A token is known to both, and an answer of the one is one of the other.
        first = client.post("/query", json=sql, headers=given)
        while first.status_code == 401:  # read again once a second
            first = client.post("/query", json=sql, headers=given)
        assert (first.json()["rows"], first.headers["lakehouse-cut"]) == ([[0]], "rows")
        for service in (patient, second):
            known = {**given, "if-none-match": first.headers["etag"]}
            while (reply := calls.post(f"{service.url}/query", json=sql, headers=known)).status_code == 401:
                pass
            assert reply.status_code == 304
        second.process.kill()
        second.process.wait()
        for number in range(6):
            assert client.post("/query", json={"sql": f"SELECT {number}"}).json()["rows"] == [[number]]
