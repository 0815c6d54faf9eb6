"""`/mcp`: agents over HTTP (MCP's streamable HTTP, a call at a time, without sessions)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from lakehouse.query.engine.admission import Admission
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import QueryService
from lakehouse.query.http.callers import Callers
from lakehouse.query.http.requests import MAX_BODY_BYTES, caller_left, read_body
from lakehouse.query.http.responses import problem_response

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager


class AgentEndpoint:
    """Lets callers in as `/query` does, and passes them on. The protocol's package is imported by the first of them."""

    def __init__(self, service: QueryService, callers: Callers, admission: Admission):
        self._service = service
        self._callers = callers
        self._admission = admission
        self._starting = asyncio.Lock()
        self._ending = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._manager: StreamableHTTPSessionManager | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        request = Request(scope, receive)
        try:
            scope["lakehouse.caller"] = await self._callers.of(request)
            body = await read_body(request, self._service.settings.query_client_seconds)
        except QueryError as error:
            await problem_response(error)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        manager = await self._started()
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return left.pop() if left else await receive()

        answering = asyncio.ensure_future(manager.handle_request(scope, replay, send))
        leaving = asyncio.ensure_future(caller_left(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()  # and with it the statement
        if not answering.cancelled():
            await asyncio.gather(answering, return_exceptions=False)

    async def _started(self) -> StreamableHTTPSessionManager:
        async with self._starting:
            if self._manager is None:
                self._manager = await to_thread.run_sync(self._made)
                begun = asyncio.Event()
                self._running = asyncio.ensure_future(self._run(self._manager, begun))
                await begun.wait()
            return self._manager

    def _made(self) -> StreamableHTTPSessionManager:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from lakehouse.query.mcp.server import make_server

        server = make_server(self._service, self._admission)._lowlevel_server
        return StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=MAX_BODY_BYTES
        )

    async def _run(self, manager: StreamableHTTPSessionManager, begun: asyncio.Event) -> None:
        async with manager.run():
            begun.set()
            await self._ending.wait()

    async def close(self) -> None:
        """End it."""
        self._ending.set()
        if self._running:
            await self._running
