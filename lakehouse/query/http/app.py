"""The query service over HTTP: `POST /query` and a few pages about it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from anyio import to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lakehouse.query.engine.admission import Admission, CallerLeftError
from lakehouse.query.engine.formats import FORMATS
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.releases import Source, release_entry
from lakehouse.query.engine.service import QueryService, Reply
from lakehouse.query.http import openapi
from lakehouse.query.http.agents import AgentEndpoint
from lakehouse.query.http.callers import Callers, asked_environment
from lakehouse.query.http.heads import HeadLimits
from lakehouse.query.http.metrics import Metrics
from lakehouse.query.http.requests import caller_left, media_type, parse_request, read_body
from lakehouse.query.http.responses import (
    LOG,
    SAFE_HEADERS,
    content_type,
    http_problem,
    problem_response,
    reply_headers,
    unexpected,
)
from lakehouse.query.http.streaming import StreamedBody, StreamedResponse
from lakehouse.settings import Settings, is_loopback

Door = Callable[[QueryService, Admission], AbstractAsyncContextManager[None]]
"""Another way in, open as long as the application is up."""


def create_app(settings: Settings, service: QueryService | None = None, doors: Sequence[Door] = ()) -> Starlette:
    """The application, for any ASGI server. It starts its workers when it starts, unless they are up, and ends them."""
    service = service or QueryService(settings)
    needs_token = settings.query_token_required
    if needs_token is None:
        needs_token = not is_loopback(settings.query_host)
    return Endpoints(service, needs_token=needs_token, doors=doors).app


class Endpoints:
    """What each address answers."""

    def __init__(self, service: QueryService, *, needs_token: bool, doors: Sequence[Door] = ()):
        settings = service.settings
        self._doors = doors
        self._service = service
        self._environment = settings.environment
        self._needs_token = needs_token
        self._callers = Callers(service, needs_token=needs_token)
        self._admission = Admission(service)
        self._metrics = Metrics(service, self._admission.gate)
        self._admission.observer = self._metrics
        self._agents = AgentEndpoint(service, self._callers, self._admission)
        self._ready_at = float("-inf")
        page = openapi.page_folder()
        self.app = Starlette(
            routes=[
                Route("/query", self._explained(self._query), methods=["POST"]),
                Route("/tables", self._explained(self._tables), methods=["GET"]),
                Route("/pages", self._explained(self._pages), methods=["GET"]),
                Route("/releases", self._explained(self._releases), methods=["GET"]),
                Route("/mcp", self._agents, methods=["POST"]),
                Route("/healthz", self._healthz, methods=["GET"]),
                Route("/readyz", self._readyz, methods=["GET"]),
                Route("/metrics", self._explained(self._show_metrics), methods=["GET"]),
                Route("/openapi.json", self._openapi, methods=["GET"]),
                Route("/", self._docs, methods=["GET"]),
                Route("/swagger/start.js", self._start_script, methods=["GET"]),
                *([Mount("/swagger", StaticFiles(directory=page))] if page else []),
            ],
            middleware=[Middleware(HeadLimits)],
            exception_handlers={HTTPException: http_problem, Exception: unexpected},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._service.start()
        # A thread for each worker, beside those that look at the storage.
        to_thread.current_default_thread_limiter().total_tokens += self._service.settings.query_workers
        async with AsyncExitStack() as open_doors:
            for door in self._doors:
                await open_doors.enter_async_context(door(self._service, self._admission))
            yield
            await self._agents.close()
        self._service.close()

    # ------------------------------------------------------------------------------------------- query

    async def _query(self, request: Request) -> Response:
        started = time.perf_counter()
        caller = await self._callers.of(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise QueryError("unsupported-type", "Send JSON, as Content-Type: application/json.")
        body = await read_body(request, self._service.settings.query_client_seconds)
        chosen = media_type(request.headers.get("accept", ""))
        asked = parse_request(body)
        question = asked.question(caller.environment(asked.environment, self._environment), chosen)
        use_cache = "no-store" not in request.headers.get("cache-control", "")

        releases = self._service.releases
        source = releases.fresh(question.environment, question.release)
        if source is None:
            source = await run_in_threadpool(releases.find, question.environment, question.release)
        if use_cache:
            etag = self._service.etag(question, caller.limits, source)
            if etag in _etags(request.headers.get("if-none-match", "")):
                return self._not_modified(etag, source)
            known = self._service.known(question, caller.limits, source)
            if known:
                return self._whole(known, chosen, started)
        turn = await self._admission.ask(
            question, caller.name, caller.limits, caller_left(request.receive), use_cache=use_cache
        )
        reply = turn.reply
        if reply.is_whole:
            return self._whole(reply, chosen, started)
        own_limit = question.limit <= caller.limits.rows

        def end(size: int) -> None:
            self._note(reply, started, size)
            turn.end()

        streamed = StreamedBody(reply, turn.cancellation, tells_cut=FORMATS[chosen].tells_cut, own_limit=own_limit)
        return StreamedResponse(streamed, end, media_type=content_type(chosen), headers=reply_headers(reply))

    def _not_modified(self, etag: str, source: Source) -> Response:
        self._metrics.note("http", "not_modified")
        headers = {**SAFE_HEADERS, "etag": f'"{etag}"', "lakehouse-release": str(source.manifest.number)}
        return Response(status_code=304, headers=headers | {"cache-control": "private, no-cache"})

    def _whole(self, reply: Reply, chosen: str, started: float) -> Response:
        body = b"".join(reply.body)
        self._note(reply, started, len(body))
        return Response(body, media_type=content_type(chosen), headers=reply_headers(reply))

    def _note(self, reply: Reply, started: float, size: int) -> None:
        self._metrics.note("http", "cached" if reply.is_cached else "answered")
        self._metrics.began("http", time.perf_counter() - started, is_cached=reply.is_cached)
        self._metrics.gave("http", reply.rows, size)

    # ------------------------------------------------------------------------------------------- pages

    async def _tables(self, request: Request) -> Response:
        return JSONResponse((await self._source(request)).listing(), headers=SAFE_HEADERS)

    async def _pages(self, request: Request) -> Response:
        return JSONResponse((await self._source(request)).pages(), headers=SAFE_HEADERS)

    async def _source(self, request: Request) -> Source:
        """The release that is asked for, as far as the caller sees it."""
        caller = await self._callers.of(request)
        environment = asked_environment(request, caller, self._environment)
        number = _number(request.query_params.get("release"))
        source = await run_in_threadpool(self._service.releases.find, environment, number)
        return source.seen_by(caller.limits.sees)

    async def _releases(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        environment = asked_environment(request, caller, self._environment)
        current = await run_in_threadpool(self._service.releases.find, environment)
        history = await run_in_threadpool(self._service.releases.history, environment)
        return JSONResponse(
            {
                "environment": environment,
                "release": current.manifest.number,
                "held": current.seen_by(caller.limits.sees).held or None,
                "releases": [release_entry(manifest, caller.limits.sees) for manifest in history],
            },
            headers=SAFE_HEADERS,
        )  # fmt: skip

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        """Whether a question to the newest release would be answered; asked of the storage once a second at most."""
        if time.monotonic() - self._ready_at > 1:
            try:
                await run_in_threadpool(self._service.releases.find, self._environment)
            except QueryError as error:
                return JSONResponse({"status": "not ready", "detail": error.detail}, status_code=503)
            self._ready_at = time.monotonic()
        return JSONResponse({"status": "ready"})

    async def _show_metrics(self, request: Request) -> Response:
        if (await self._callers.of(request)).limits.sees is not None:
            raise QueryError("forbidden", "This token sees tables, and nothing of the service.")
        return Response(self._metrics.rendered(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi.document(self._environment, needs_token=self._needs_token))

    async def _docs(self, request: Request) -> Response:
        headers = {"content-security-policy": openapi.PAGE_POLICY, **SAFE_HEADERS}
        return Response(openapi.PAGE, media_type="text/html", headers=headers)

    async def _start_script(self, request: Request) -> Response:
        return Response(openapi.START, media_type="text/javascript", headers=SAFE_HEADERS)

    def _explained(
        self, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """What goes wrong as problem details."""

        async def answered(request: Request) -> Response:
            try:
                return await endpoint(request)
            except QueryError as error:
                self._metrics.note("http", error.kind)
                LOG.info("%s %s", error.kind, error.status)
                return problem_response(error)
            except (ClientDisconnect, CallerLeftError):
                self._metrics.note("http", "left")
                return Response(status_code=499)

        return answered


def _etags(header: str) -> set[str]:
    return {part.strip().removeprefix("W/").strip('"') for part in header.split(",")}


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise QueryError("invalid-request", "release: must be a number.")
    return int(text)
