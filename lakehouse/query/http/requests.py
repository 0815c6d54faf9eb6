"""What a call over HTTP may say, and how it says what it wants back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lakehouse.query.engine.formats import FORMATS, JSON
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import DEFAULT_ROWS, Question

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive

MAX_BODY_BYTES = 200_000
ENVIRONMENT = "[a-z][a-z0-9_]{0,39}"
Parameter = str | int | float | bool | None


class QueryRequest(BaseModel):
    """The body of `POST /query`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sql: Annotated[str, Field(min_length=1, description="One SELECT. Parameters are written $name.")]
    environment: Annotated[str | None, Field(pattern=f"^{ENVIRONMENT}$", description="Default: the service's own.")] = (
        None
    )
    release: Annotated[int | None, Field(ge=1, description="Default: the release that readers get.")] = None
    limit: Annotated[int, Field(ge=1, description="The most rows that are wanted.")] = DEFAULT_ROWS
    parameters: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")], Parameter],
        Field(max_length=100, description="Values for $name."),
    ] = {}

    def question(self, environment: str, media_type: str) -> Question:
        """What it asks of this environment."""
        return Question(self.sql, environment, self.release, media_type, self.limit, dict(self.parameters))


def parse_request(body: bytes) -> QueryRequest:
    """Raises QueryError: it is no JSON, or not of that shape; the message names the field."""
    try:
        return QueryRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"])
        raise QueryError("invalid-request", f"{where}: {message}." if where else f"{message}.") from None
    except RecursionError:
        raise QueryError("invalid-request", "The JSON is nested too deeply.") from None


async def read_body(request: Request, seconds: float) -> bytes:
    """Raises QueryError: it is too long, or slow to come."""
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BODY_BYTES:
                    raise QueryError("too-large", f"A request may have {MAX_BODY_BYTES:,} bytes.")
    except TimeoutError:
        raise QueryError("invalid-request", f"The request did not arrive within {seconds:g} seconds.") from None
    return bytes(content)


async def caller_left(receive: Receive) -> None:
    """Return when the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def media_type(accept: str) -> str:
    """The best of the offered formats for an Accept header; JSON when it has none.

    Raises:
        QueryError: it accepts none of them.
    """
    if not accept.strip():
        return JSON
    found: list[tuple[float, int, int, str]] = []
    for part in accept.split(","):
        wanted, *options = (word.strip().lower() for word in part.split(";"))
        for order, offered in enumerate(FORMATS):
            precise = {offered: 2, f"{offered.partition('/')[0]}/*": 1, "*/*": 0}.get(wanted)
            if precise is not None and (quality := _quality(options)) > 0:
                found.append((quality, precise, -order, offered))
    if not found:
        raise QueryError("not-acceptable", f"Offered are {', '.join(FORMATS)}.")
    return max(found)[-1]


def _quality(options: list[str]) -> float:
    for option in options:
        name, _, value = option.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def schema() -> dict[str, Any]:
    """The body's JSON schema, for the OpenAPI document."""
    return QueryRequest.model_json_schema()
