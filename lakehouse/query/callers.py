"""Who asks the query service, and what they may."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from lakehouse.query.problems import QueryError
from lakehouse.query.requests import ENVIRONMENT
from lakehouse.query.service import QueryService
from lakehouse.query.tokens import Grant, Limits, TokenBook
from lakehouse.storage import StorageError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Caller:
    """Who asks, and what they may."""

    name: str
    limits: Limits
    environments: tuple[str, ...] | None  # None: all

    def check(self, environment: str) -> None:
        """Raises QueryError when this environment is not theirs."""
        if self.environments is not None and environment not in self.environments:
            raise QueryError("forbidden", f"This token is not for {environment}.")


class Callers:
    """Tells them by their token; without one, by being on this machine."""

    def __init__(self, service: QueryService, *, needs_token: bool):
        self._service = service
        self._needs_token = needs_token
        self._tokens = TokenBook(service.storage)

    async def of(self, request: Request) -> Caller:
        """Raises QueryError when nobody may ask like this."""
        service = self._service
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            try:
                grant: Grant | None = await run_in_threadpool(self._tokens.find, token.strip())
            except StorageError:
                raise QueryError("unavailable", "Tokens can't be checked now.") from None
            if grant is None:
                raise QueryError("unauthorized", "This token is unknown, revoked or expired.")
            return Caller(grant.name, grant.limits(service.limits), grant.environments)
        if self._needs_token:
            raise QueryError("unauthorized", "Send a token: Authorization: Bearer …")
        # A page on the internet may point a name of its own at this machine: only our own names are answered.
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.strip("[]").lower() not in LOOPBACK:
            raise QueryError("forbidden", "Without a token only this machine is answered, under its own names.")
        return Caller("", service.limits, None)


def asked_environment(request: Request, caller: Caller, default: str) -> str:
    """The environment that a GET names, if the caller may read it."""
    environment = request.query_params.get("environment", default)
    if not re.fullmatch(ENVIRONMENT, environment):
        raise QueryError("invalid-request", "environment: must be a name such as prod or dev_ann.")
    caller.check(environment)
    return environment
