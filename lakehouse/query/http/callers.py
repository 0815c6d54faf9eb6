"""Who asks the query service, and what they may."""

from __future__ import annotations

import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import QueryService
from lakehouse.query.engine.tokens import Caller, Grant, TokenBook
from lakehouse.query.http.requests import ENVIRONMENT
from lakehouse.same_origin import reason_to_refuse
from lakehouse.storage import StorageError


class Callers:
    """Tells them by their token; without one, by being on this machine."""

    def __init__(self, service: QueryService, *, needs_token: bool):
        self._service = service
        self._needs_token = needs_token
        self._tokens = TokenBook(service.storage)
        self._names = {"localhost", *(name.lower() for name in service.settings.own_names)}

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
        reason = reason_to_refuse(request.scope, self._names)
        if reason:
            raise QueryError("forbidden", f"{reason} With a token it is answered.")
        return Caller("", service.limits, None)


def asked_environment(request: Request, caller: Caller, default: str) -> str:
    """The environment that a GET names, if the caller may read it."""
    asked = request.query_params.get("environment")
    if asked is not None and not re.fullmatch(ENVIRONMENT, asked):
        raise QueryError("invalid-request", "environment: must be a name such as prod or dev_ann.")
    return caller.environment(asked, default)
