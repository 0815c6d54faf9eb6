"""Callers who hold a connection and do nothing with it: each is ended, and the next caller is answered."""

from __future__ import annotations

import json
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest

from lakehouse.query.engine.places import connections_within_limits
from tests import calls
from tests.lakehouse.releases.conftest import Publisher
from tests.query.conftest import ROWS, Service, serving

ADDRESSES = 6
LONG = "SELECT i, repeat('x', 190) AS text FROM marts.days"
BUSY = "SELECT count(*) FROM range(100000) a, range(100000) b WHERE a.range + b.range = 7"
HEAD = b"POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Impatient, and for few."""
    with serving(
        publisher.lake.settings, tmp_path_factory.mktemp("impatient"), LAKEHOUSE_QUERY_CLIENT_SECONDS="4",
        LAKEHOUSE_QUERY_IDLE_SECONDS="1", LAKEHOUSE_QUERY_CONNECTIONS="20", LAKEHOUSE_QUERY_SECONDS="60",
        LAKEHOUSE_QUERY_CONNECTIONS_PER_ADDRESS=str(ADDRESSES),
    ) as running:  # fmt: skip
        yield running


def connected(service: Service, source: str = "127.0.0.1", buffer: int | None = None) -> socket.socket:
    """A connection from one of this machine's addresses."""
    address = urlsplit(service.url)
    found = socket.socket()
    found.settimeout(300)
    if buffer:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    found.bind((source, 0))
    found.connect((address.hostname, address.port))
    return found


def asking(sql: str, **asked: object) -> bytes:
    """The bytes of a call."""
    body = json.dumps({"sql": sql, **asked}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def rest(connection: socket.socket) -> bytes:
    """All that comes until the service hangs up."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionError:
        pass
    return found


def one_answer(connection: socket.socket) -> bytes:
    """A short one, whole."""
    found = b""
    while not found.endswith(b"}\n"):
        found += connection.recv(65_536)
    return found


def eventually(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gauge(service: Service, name: str) -> float:
    """A number of the service's own."""
    lines = calls.get(f"{service.url}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"lakehouse_query_{name} ")).split()[1])


@pytest.mark.parametrize(
    "sent", [b"", b"GET ", HEAD, asking("SELECT 1")[:-3]], ids=["nothing", "a word", "head", "body"]
)
def test_who_sends_half_a_request_is_hung_up_on(service: Service, sent: bytes) -> None:
    with closing(connected(service)) as connection:
        connection.sendall(sent)
        answer = rest(connection)
    assert answer == b"" or answer.split()[1] in (b"408", b"400")


def test_a_head_that_trickles_is_as_late_as_one_that_stops(service: Service) -> None:
    with closing(connected(service)) as connection, pytest.raises(ConnectionError):
        connection.sendall(HEAD)
        for number in range(600):
            connection.sendall(b"X-%d: x\r\n" % number)
            time.sleep(0.05)


def test_a_connection_between_two_calls_is_closed_and_may_wait_a_while(service: Service) -> None:
    with closing(connected(service)) as connection:
        for _ in range(2):
            connection.sendall(asking("SELECT 1"))
            assert one_answer(connection).startswith(b"HTTP/1.1 200")
        assert rest(connection) == b""


def test_callers_who_never_read_lose_their_workers(service: Service) -> None:
    with ExitStack() as stack:
        for number in range(2):  # as many as there are workers
            one = stack.enter_context(closing(connected(service, buffer=4_096)))
            one.sendall(asking(f"{LONG} -- {number}", limit=ROWS))
        eventually(lambda: gauge(service, "at_work") > 0)
        eventually(lambda: gauge(service, "at_work") == 0)
    assert service.rows("SELECT 1") == [[1]]


def test_a_reader_who_takes_his_time_gets_all(service: Service) -> None:
    with closing(connected(service, buffer=65_536)) as connection:
        connection.sendall(asking(LONG, limit=ROWS).replace(b"Host", b"Connection: close\r\nHost", 1))
        found = b""
        while piece := connection.recv(1 << 20):
            found += piece
            time.sleep(0.005)
    assert found.endswith(b"0\r\n\r\n") and b'"row_count":%d' % ROWS in found


def test_idle_connections_of_one_address_shut_nobody_out(service: Service) -> None:
    with ExitStack() as stack:
        mine = [stack.enter_context(closing(connected(service))) for _ in range(5 * ADDRESSES)]
        # The oldest made room, for those of their own address too.
        assert service.rows("SELECT 1") == [[1]]
        for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"):
            for _ in range(ADDRESSES):
                stack.enter_context(closing(connected(service, source)))
        with closing(connected(service, "127.0.0.9")) as other:
            other.sendall(asking("SELECT 1"))
            assert one_answer(other).startswith(b"HTTP/1.1 200")
        assert all(rest(one) == b"" for one in mine)


def test_one_address_at_work_is_told_that_it_has_enough_and_others_are_answered(service: Service) -> None:
    with ExitStack() as stack:
        for number in range(ADDRESSES):
            one = stack.enter_context(closing(connected(service, "127.0.0.2")))
            one.sendall(asking(f"{BUSY} -- {number}"))
        eventually(lambda: gauge(service, "at_work") + gauge(service, "waiting") == ADDRESSES)
        with closing(connected(service, "127.0.0.2")) as more:
            assert b"503" in rest(more).split(b"\r\n")[0]
    eventually(lambda: gauge(service, "at_work") + gauge(service, "waiting") == 0)


def test_who_leaves_while_waiting_or_running_leaves_at_once(service: Service) -> None:
    with ExitStack() as stack:
        for number in range(ADDRESSES - 1):
            one = stack.enter_context(closing(connected(service)))
            one.sendall(asking(f"{BUSY} -- leaves {number}"))
            if number % 2:  # with and without a good-bye
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: gauge(service, "waiting") > 0)
    eventually(lambda: gauge(service, "waiting") + gauge(service, "at_work") == 0)


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1", "SELECT count(*) FROM range(100000) a, range(4000) b WHERE a.range + b.range = 7", LONG],
    ids=["quick", "slow", "long"],
)
def test_a_half_closed_socket_is_answered(service: Service, sql: str) -> None:
    with closing(connected(service)) as connection:
        connection.sendall(asking(sql, limit=ROWS))
        connection.shutdown(socket.SHUT_WR)
        answer = rest(connection).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    assert answer.endswith(b"}\n") or answer.endswith(b"0\r\n\r\n")


def test_two_calls_in_one_go_are_answered_on_a_half_closed_socket(service: Service) -> None:
    with closing(connected(service)) as connection:
        connection.sendall(asking("SELECT 11") + asking("SELECT 22"))
        connection.shutdown(socket.SHUT_WR)
        answer = rest(connection)
    assert b"[11]" in answer and b"[22]" in answer


TOO_LONG = b"Content-Length: 200001\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD + TOO_LONG + b"\r\n", b"413"),
        (HEAD + TOO_LONG + b"Expect: 100-continue\r\n\r\n", b"413"),
        (b"GET /tables HTTP/1.1\r\nHost: 127.0.0.1\r\n" + TOO_LONG + b"\r\n", b"413"),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", b"400"),
        (HEAD + b"Content-Length: 2\r\nContent-Encoding: gzip\r\n\r\n", b"415"),
        (HEAD + b"Content-Length: 2\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\n\r\n", b"415"),
        (HEAD + b"".join(b"X%d: x\r\n" % number for number in range(150)) + b"\r\n", b"431"),
        (HEAD + b"X: " + b"x" * 33_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"431"),
    ],
)
def test_a_head_that_may_not_be_is_refused_at_once_and_its_connection_closed(
    service: Service, head: bytes, status: bytes
) -> None:
    with closing(connected(service)) as connection:
        connection.sendall(head)  # and nothing of the body
        answer = rest(connection)
    assert answer.split()[1] in (status, b"400" if status == b"431" else status), answer
    assert b"connection: close" in answer.lower()


def test_a_body_that_nobody_wants_is_not_read_to_its_end(service: Service) -> None:
    with closing(connected(service)) as connection, pytest.raises(ConnectionError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(600):
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            time.sleep(0.05)


def test_an_identity_body_and_one_in_pieces_are_read(service: Service) -> None:
    body = [b'{"sql": ', b'"SELECT 1"}']
    headers = {"content-type": "application/json", "content-encoding": "identity"}
    assert calls.post(f"{service.url}/query", content=iter(body), headers=headers).json()["rows"] == [[1]]


def test_there_are_never_more_connections_than_descriptors() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert connections_within_limits(10, 2) == 10
        assert connections_within_limits(1 << 40, 2) < 1 << 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
