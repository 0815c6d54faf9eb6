"""Agents, by the protocol's own client: what they find, what they are told, what they may not."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from lakehouse.query.engine import tokens
from lakehouse.storage import open_storage
from tests import calls
from tests.lakehouse.releases.conftest import Publisher
from tests.query.conftest import ROWS, Service, serving

BUSY = "SELECT count(*) FROM range(100000) a, range(100000) b WHERE a.range + b.range = 7"
Talk = Callable[[Client], Awaitable[None]]
TOOLS = {
    "search_tables", "describe_table", "sample_table", "query", "lineage", "releases", "compare_releases",
    "environments", "why_waiting",
}  # fmt: skip


def over_http(url: str, talk: Talk, token: str = "", mode: str = "auto") -> None:
    """Talk to the service as an agent does; `legacy` is how those talk that are older than July 2026."""

    async def run() -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(headers=headers, timeout=120) as http:
            async with Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client:
                await talk(client)

    asyncio.run(run())


async def told(client: Client, tool: str, **given: Any) -> Any:
    """What a tool answers."""
    text, is_error = await answered(client, tool, **given)
    assert not is_error, text
    return json.loads(text)


async def answered(client: Client, tool: str, **given: Any) -> tuple[str, bool]:
    result = await client.call_tool(tool, given)
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text, bool(result.is_error)


async def look_around(client: Client) -> None:
    """What an agent does that knows nothing: find, understand, ask."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() == TOOLS
    assert all(tool.annotations and tool.annotations.read_only_hint and tool.description for tool in tools.values())
    (found,) = (await told(client, "search_tables", words="numbers by day"))["tables"]
    assert (found["name"], found["owner"], found["grain"]) == ("marts.days", "analytics", ["i"])
    about = await told(client, "describe_table", table="marts.days")
    part = next(column for column in about["columns"] if column["name"] == "part")
    assert part["from"] == ["staging.numbers.n"] and about["checks"][0]["result"] == "passed"
    assert about["of_release"]["release"] == 1 and about["rows"] == ROWS
    up = await told(client, "lineage", table="marts.days", column="part")
    assert [edge["other"] for edge in up["computed_from"]] == ["staging.numbers.n", "raw.numbers.value"]
    down = await told(client, "lineage", table="raw.numbers", column="value")
    assert [edge["other"] for edge in down["used_by"]] == ["staging.numbers.n", "marts.days.part"]
    assert (await told(client, "sample_table", table="marts.names"))["row_count"] == 2
    answer = await told(client, "query", sql="SELECT sum(i) FROM marts.days WHERE i < $most", parameters={"most": 4})
    assert answer["rows"] == [[6]] and answer["release"] == 1
    long = await told(client, "query", sql="SELECT i, repeat('x', 5000) FROM marts.days", limit=2_000)
    assert long["cut"] == "bytes"
    assert (await told(client, "releases"))["releases"][0]["tables"] == 2
    assert (await told(client, "compare_releases", older=1, newer=1))["changed_tables"] == {}
    assert [one["environment"] for one in (await told(client, "environments"))["environments"]] == ["prod"]
    waiting = await told(client, "why_waiting")
    assert waiting["left_behind_by_this_release"] == [] and waiting["readers_are_held"] is None
    for tool, given, words in (
        (
            "query",
            {"sql": "SELECT * FROM read_csv('/etc/passwd')"},
            "refused: line 1, column 15: The function read_csv",
        ),
        ("query", {"sql": "DROP TABLE marts.days"}, "refused"),
        ("query", {"sql": "SELECT * FROM staging.secret"}, "There is no table staging.secret"),
        ("sample_table", {"table": "staging.secret"}, "There is no table staging.secret"),
        ("describe_table", {"table": "secret"}, "There are marts.days, marts.names"),
        ("lineage", {"table": "marts.days", "column": "x"}, "has no column x. It has day, i, part"),
        ("query", {"sql": "SELECT 1", "release": 99}, "There is no release 99"),
        ("query", {"sql": "SELECT 1", "environment": "qa"}, "There is no release of qa"),
    ):
        text, is_error = await answered(client, tool, **given)
        assert is_error and words in text, text


def test_an_agent_finds_understands_and_asks(service: Service) -> None:
    over_http(service.url, look_around)
    metrics = calls.get(f"{service.url}/metrics").text
    for name in ('calls_total{outcome="answered",', 'seconds_count{cached="no",', "rows_total{", "bytes_total{"):
        assert f'lakehouse_query_{name}way="mcp"}}' in metrics
    assert service.rows("SELECT 42") == [[42]]


@pytest.mark.slow
def test_an_agent_on_this_machine_needs_no_service(publisher: Publisher) -> None:
    settings = publisher.lake.settings
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {
        "LAKEHOUSE_DATA_DIR": str(settings.data_dir), "LAKEHOUSE_QUERY_WORKERS": "1",
        "LAKEHOUSE_POSTGRES_URL": settings.postgres_url.get_secret_value(),
    }  # fmt: skip
    command = str(Path(sys.executable).with_name("lakehouse"))

    async def run() -> None:
        asked = StdioServerParameters(command=command, args=["mcp"], env=environment)
        async with Client(stdio_client(asked)) as client:
            await look_around(client)
            assert (await told(client, "why_waiting"))["held_back_now"] == []

    asyncio.run(run())


@pytest.mark.slow
def test_an_agent_comes_in_by_the_same_door(publisher: Publisher, tmp_path: Path) -> None:
    settings = publisher.lake.settings
    token = tokens.create(open_storage(settings), "agent", ["prod"], by="tester", rows=3)
    other = tokens.create(open_storage(settings), "agent-of-qa", ["qa"], by="tester")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream"}
    allowed = accept | {"authorization": f"Bearer {token}"}

    async def ask(client: Client) -> None:
        answer = await told(client, "query", sql="SELECT i FROM marts.days")
        assert (answer["row_count"], answer["cut"]) == (3, "rows")
        text, is_error = await answered(client, "query", sql="SELECT 1", environment="dev_ann")
        assert is_error and "This token is not for dev_ann" in text

    async def ask_elsewhere(client: Client) -> None:
        text, is_error = await answered(client, "search_tables", environment="prod")
        assert is_error and "This token is not for prod" in text
        assert (await told(client, "environments"))["environments"] == []

    async def leave(client: Client) -> None:
        def at_work() -> bool:
            metrics = calls.get(f"{service.url}/metrics", headers=allowed).text
            return "lakehouse_query_at_work 0.0" not in metrics

        asked = {"name": "query", "arguments": {"sql": BUSY}}
        async with httpx.AsyncClient(headers=allowed, timeout=300) as http:
            older = http.post(f"{service.url}/mcp", json=call | {"method": "tools/call", "params": asked})
            for coroutine in (client.call_tool("query", asked["arguments"]), older):
                asking = asyncio.ensure_future(coroutine)
                while not at_work():
                    await asyncio.sleep(0.05)
                asking.cancel()
                while at_work():  # else for ten minutes
                    await asyncio.sleep(0.05)

    with serving(
        settings, tmp_path, LAKEHOUSE_QUERY_TOKEN_REQUIRED="true", LAKEHOUSE_QUERY_SECONDS="600"
    ) as service:  # fmt: skip
        for mode in ("auto", "legacy"):
            over_http(service.url, ask, token, mode)
            over_http(service.url, ask_elsewhere, other, mode)
        over_http(service.url, leave, token)
        url = f"{service.url}/mcp"
        for headers in ({}, {"authorization": "Bearer lh_x_y"}):
            assert calls.post(url, json=call, headers=accept | headers).status_code == 401
        assert calls.get(url).status_code == 405
        assert calls.post(url, content=b"x" * 300_000, headers=allowed).status_code == 413
        tokens.revoke(open_storage(settings), "agent-of-qa")
        tokens.revoke(open_storage(settings), "agent")


def test_no_page_in_a_browser_asks(service: Service) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream"}
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert calls.post(f"{service.url}/mcp", json=call, headers=accept | headers).status_code == 403
    assert calls.post(f"{service.url}/mcp", json=call, headers=accept).status_code == 200


def test_a_process_that_no_agent_asks_does_without_the_package() -> None:
    code = "import sys, lakehouse.query.http.app, lakehouse.cli.main; print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
