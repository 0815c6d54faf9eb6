"""A page of another site can't use the web UI, which has no login, through the browser of whoever sits here."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from lakehouse.same_origin import SameOriginOnly

HERE = "http://127.0.0.1:3000"


async def _page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("done")


@pytest.fixture
def browser() -> TestClient:
    """Something to guard, as seen from http://127.0.0.1:3000."""
    routes = [Route("/{path:path}", _page, methods=["GET", "POST"]), WebSocketRoute("/graphql", _socket)]
    app = Starlette(routes=routes, middleware=[Middleware(SameOriginOnly, names=["lake.example"])])
    return TestClient(app, base_url=HERE)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:8501"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_sites_page_is_refused(browser: TestClient, headers: dict[str, str]) -> None:
    assert browser.post("/graphql?query=mutation", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("ws://127.0.0.1:3000/graphql", headers=headers):
        pass


def test_a_picture_can_not_be_a_mutation(browser: TestClient) -> None:
    assert browser.get("/graphql?query=mutation%7B%7D", headers={"Accept": "image/*"}).status_code == 403


def test_a_strangers_name_for_this_machine_is_refused(browser: TestClient) -> None:
    headers = {"Host": "evil.example:3000", "Origin": "http://evil.example:3000"}
    # Wherever it listens: Compose publishes on loopback what listens on every address of its container.
    for reply in (browser.get("/runs", headers=headers), browser.post("/graphql", headers=headers)):
        assert reply.status_code == 403
        assert "The name 'evil.example' is not answered" in reply.text


@pytest.mark.parametrize(
    "host", ["localhost:3000", "[::1]:3000", "192.0.2.7:3000", "lake.example", "Lake.Example:3000"]
)
def test_an_address_and_its_own_names_are_answered(browser: TestClient, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert browser.get("/runs", headers=headers).text == "done"
    assert browser.post("/graphql", headers=headers).text == "done"


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}], ids=["program", "own page"]
)
def test_programs_and_its_own_pages_are_let_through(browser: TestClient, headers: dict[str, str]) -> None:
    assert browser.post("/graphql", headers=headers).text == "done"
    for page in ("/", "/graphql", "/runs?q=x"):
        assert browser.get(page, headers={"Sec-Fetch-Site": "cross-site"}).text == "done"  # a link from elsewhere
    with browser.websocket_connect("ws://127.0.0.1:3000/graphql", headers=headers) as socket:
        assert socket.receive_text() == "done"
