"""Long answers over HTTP: sent piece by piece, and ended whatever becomes of their callers."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress

from anyio import to_thread
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import Cancellation, Reply


class StreamedBody:
    """The pieces of an answer, pulled in threads, one at a time."""

    def __init__(self, reply: Reply, cancellation: Cancellation, *, tells_cut: bool, own_limit: bool):
        self.size_bytes = 0
        self._reply = reply
        self._cancellation = cancellation
        self._tells_cut = tells_cut
        self._own_limit = own_limit
        self._lock = threading.Lock()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """One after the other. A cut answer of a format that can't say so breaks off, unless the caller's limit cut it.

        Raises:
            QueryError: the statement failed or was stopped meanwhile.
        """
        # A caller who leaves is not kept waiting for the next piece: its thread goes on until `end` stops it.
        while (piece := await to_thread.run_sync(self._next, abandon_on_cancel=True)) is not None:
            self.size_bytes += len(piece)
            yield piece
        is_asked_for = self._own_limit and self._reply.cut == "rows"
        if self._reply.cut and not is_asked_for and not self._tells_cut:
            raise ConnectionAbortedError(f"the answer was cut by its {self._reply.cut} limit")

    def _next(self) -> bytes | None:
        with self._lock:
            return next(self._reply.body, None)

    def end(self) -> None:
        """Stop what is left of the answer and give its worker back."""
        if not self._reply.is_whole:
            self._cancellation.cancel()
        with self._lock, suppress(QueryError):
            self._reply.close()


class StreamedResponse(StreamingResponse):
    """A response that ends its answer, then calls `end` with the bytes that were sent: also when its caller has gone,
    or had before the first piece."""

    def __init__(self, body: StreamedBody, end: Callable[[int], None], *, media_type: str, headers: Mapping[str, str]):
        super().__init__(body.pieces(), media_type=media_type, headers=headers)
        self._body = body
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._body.end)
            self._end(self._body.size_bytes)
