"""Asking in this process: the query service without HTTP, so the same guard, the same workers, the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lakehouse.query.client import ROWS, Client
from lakehouse.query.client.result import About, Stream
from lakehouse.query.engine.formats import ARROW
from lakehouse.query.engine.service import QueryService, Question, Reply
from lakehouse.settings import Settings


class LocalClient(Client):
    """Asks releases through a `QueryService` of its own; its workers end with it."""

    def __init__(self, settings: Settings, *, workers: int = 1):
        self.service = QueryService(settings, workers=workers)
        self._environment = settings.environment

    def close(self) -> None:
        """End the workers."""
        self.service.close()

    def newest(self, environment: str | None = None) -> int:
        """The number of the release that readers get now."""
        return self.service.releases.find(environment or self._environment).manifest.number

    @contextmanager
    def open(
        self,
        sql: str,
        *,
        media_type: str = ARROW,
        parameters: Mapping[str, Any] | None = None,
        release: int | None = None,
        environment: str | None = None,
        limit: int = ROWS,
    ) -> Iterator[Stream]:
        """The answer piece by piece; leaving the block stops it."""
        question = Question(
            sql, environment or self._environment, release, media_type, limit, dict(parameters or {})
        )  # fmt: skip
        reply = self.service.ask(question, self.service.limits)
        about = _about(reply)
        try:
            yield Stream(about, _told(reply, about))
        finally:
            reply.close()


def _told(reply: Reply, about: About) -> Iterator[bytes]:
    yield from reply.body
    about.rows, about.cut, about.execution_ms = reply.rows, reply.cut, reply.execution_ms


def _about(reply: Reply) -> About:
    source = reply.source
    return About(
        release=source.manifest.number,
        environment=source.manifest.environment,
        cut_at=source.manifest.cut_at,
        held=source.held,
        warm=reply.is_warm,
        cached=reply.is_cached,
    )
