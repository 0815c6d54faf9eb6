"""A client for open-data portals that speak SODA: it retries what may pass, and never what can't."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from dlt.common.json import json

logger = logging.getLogger(__name__)


class SodaError(Exception):
    """The portal gave no rows.

    SodaError
    ├── PortalUnavailable   down, throttling, broken answers: given up after several attempts
    └── RequestRefused      the portal answered that the request is wrong; asking again won't help
        └── DatasetMissing  the portal has no such dataset
    """


class PortalUnavailable(SodaError):
    """Given up after several attempts. Later may be different."""


class RequestRefused(SodaError):
    """A 4xx that asking again doesn't change."""


class DatasetMissing(RequestRefused):
    """404: wrong address or wrong dataset."""


class _Transient(Exception):
    """One attempt failed in a way that may pass; `wait_seconds` is what the portal asked for."""

    def __init__(self, what: str, wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(what)


@dataclass(frozen=True)
class Retry:
    """How patient the client is. The waits double, with jitter, up to the longest."""

    attempts: int = 6
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30
    timeout_seconds: float = 60

    def wait(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after this attempt (1 is the first), or what the portal asked, within the cap."""
        doubled = self.first_wait_seconds * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
        return min(doubled if asked is None else max(asked, 0), self.longest_wait_seconds)


@dataclass
class SodaClient:
    """Asks one dataset of one portal. `warnings` collects what the owner of the settings should know."""

    base_url: str
    dataset_id: str
    app_token: str | None = None
    retry: Retry = field(default_factory=Retry)
    warnings: list[str] = field(default_factory=list)
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        """The dataset's address."""
        return f"{self.base_url.rstrip('/')}/resource/{self.dataset_id}.json"

    def rows(self, parameters: Mapping[str, str | int]) -> list[dict[str, Any]]:
        """The rows of one request, as the portal's JSON has them. Raises SodaError."""
        failure = _Transient("no attempt made")
        for attempt in range(1, self.retry.attempts + 1):
            try:
                return self._attempt(parameters)
            except _Transient as error:
                failure = error
                if attempt < self.retry.attempts:
                    wait = self.retry.wait(attempt, error.wait_seconds)
                    logger.info("%s: %s; again in %.1f s", self.url, error, wait)
                    time.sleep(wait)
        raise PortalUnavailable(
            f"{self.url} gave no rows in {self.retry.attempts} attempts; the last time: {failure}. "
            "Nothing was loaded and the table is as it was. "
            "Is the address right, and does the portal answer in a browser? Then load again."
        )

    def count(self, where: str | None = None) -> int:
        """How many rows the portal has. Raises SodaError."""
        parameters = {"$select": "count(*)"} | ({"$where": where} if where else {})
        rows = self.rows(parameters)
        try:
            return int(next(iter(rows[0].values())))
        except (IndexError, StopIteration, ValueError) as error:
            raise PortalUnavailable(f"{self.url} answered a count with {str(rows)[:200]}") from error

    def _attempt(self, parameters: Mapping[str, str | int]) -> list[dict[str, Any]]:
        headers = {"X-App-Token": self.app_token} if self.app_token else {}
        try:
            response = self.session.get(
                self.url, params=dict(parameters), headers=headers, timeout=self.retry.timeout_seconds
            )
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Transient(_named(error)) from error
        status = response.status_code
        if status == 403 and self.app_token:
            self._go_on_without_token(response)
            return self._attempt(parameters)
        if status == 202 or status == 429 or status >= 500:
            raise _Transient(f"status {status} ({_reason(response)})", _retry_after(response))
        if status != 200:
            refusal = DatasetMissing if status == 404 else RequestRefused
            raise refusal(
                f"{response.url} was refused with status {status}: {_reason(response)}. "
                "Correct the address, the dataset or the query; nothing was loaded."
            )
        try:
            rows = json.loadb(response.content)
        except ValueError as error:
            raise _Transient(f"the answer is no JSON: {response.text[:100]!r}") from error
        if not isinstance(rows, list):
            raise _Transient(f"the answer is no list of rows: {response.text[:100]!r}")
        return rows

    def _go_on_without_token(self, response: requests.Response) -> None:
        warning = (
            f"{self.base_url} refused the app token ({_reason(response)}); the load goes on without it, "
            "and may be throttled. Correct the setting app_token, or leave it out."
        )
        logger.warning(warning)
        self.warnings.append(warning)
        self.app_token = None


def _reason(response: requests.Response) -> str:
    """The message of either of the portal's error envelopes, or the body's start."""
    try:
        return str(json.loadb(response.content)["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or response.reason


def _named(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return f"{type(error).__name__}: {str(error)[:200]}"


def _retry_after(response: requests.Response) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
