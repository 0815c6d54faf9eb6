"""Who may ask: tokens, kept as hashes in the published zone, each with its environments and limits.

A token is 256 random bits behind a public name for it, so a plain SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.errors import LakehouseError
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.sights import Sight, Sights
from lakehouse.storage import ConflictError, NotThereError, Storage

KEY = "published/tokens.json"
PREFIX = "lh"
TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
ATTEMPTS = 10
REFRESH_SECONDS = 1.0


class TokenError(LakehouseError):
    """A token that was asked for can't be made or isn't there."""


@dataclass(frozen=True)
class Limits:
    """What one call may take, and how many at once."""

    rows: int
    bytes: int
    seconds: float
    at_once: int
    sees: Sights | None = None
    """The tables, rows and columns that are there for it; None: all. Whoever asks with limits asks with these."""
    share: str = ""
    """Under which name its use is counted; empty: it is not."""


@dataclass(frozen=True)
class Grant:
    """What a token allows. A limit of None is the service's own."""

    name: str
    id: str
    sha256: str
    environments: tuple[str, ...]
    created_at: str
    created_by: str
    expires_at: str | None = None
    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    at_once: int | None = None
    sees: Sights | None = None
    """Of a share: what is there for it. None: all of its environments."""

    def limits(self, service: Limits) -> Limits:
        """The token's limits within the service's."""
        own = {
            name: min(value, getattr(service, name))
            for name in ("rows", "bytes", "seconds", "at_once")
            if (value := getattr(self, name)) is not None
        }
        return replace(service, **own, sees=self.sees, share="" if self.sees is None else self.name)

    @property
    def is_expired(self) -> bool:
        """Whether its time has passed."""
        return self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= datetime.now(UTC)


def environment_of(allowed: Collection[str] | None, asked: str | None, default: str) -> str:
    """The environment of a question whose token is for those (None: for all). A token for one asks for it by itself.

    Raises:
        QueryError: it is none of them.
    """
    if asked is None and allowed is not None and len(allowed) == 1:
        return next(iter(allowed))
    environment = asked or default
    if allowed is not None and environment not in allowed:
        raise QueryError("forbidden", f"This token is not for {environment}, but for {', '.join(allowed) or 'none'}.")
    return environment


@dataclass(frozen=True)
class Caller:
    """Who asks, and what they may."""

    name: str
    limits: Limits
    environments: tuple[str, ...] | None  # None: all

    def environment(self, asked: str | None, default: str) -> str:
        """What they ask: the only one of their token unless they name one, else the service's own.

        Raises:
            QueryError: it is not theirs.
        """
        return environment_of(self.environments, asked, default)


_NOBODY = Grant("", "", "0" * 64, (), "", "")


def read_grants(storage: Storage) -> dict[str, Grant]:
    """Every token's grant, by its public part."""
    return _read(storage)[0]


def create(
    storage: Storage,
    name: str,
    environments: Iterable[str],
    *,
    by: str,
    lasts: timedelta | None = None,
    rows: int | None = None,
    max_bytes: int | None = None,
    seconds: float | None = None,
    at_once: int | None = None,
    sees: Sights | None = None,
) -> str:
    """Make a token and give it: it can't be shown again.

    Raises:
        TokenError: there is one of this name.
    """
    now = datetime.now(UTC)
    public, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    grant = Grant(
        name, public, _hash(secret), tuple(environments), _iso(now), by, _iso(now + lasts) if lasts else None,
        rows, max_bytes, seconds, at_once, sees,
    )  # fmt: skip

    def add(grants: dict[str, Grant]) -> None:
        if any(one.name == name for one in grants.values()):
            raise TokenError(f"There is a token {name} already: `lakehouse token revoke {name}` makes room for it.")
        grants[public] = grant

    _change(storage, add)
    return f"{PREFIX}_{public}_{secret}"


def revoke(storage: Storage, name: str) -> None:
    """Make a token worthless, within a second.

    Raises:
        TokenError: there is none of this name.
    """

    def remove(grants: dict[str, Grant]) -> None:
        found = [public for public, one in grants.items() if one.name == name]
        if not found:
            known = ", ".join(sorted(one.name for one in grants.values())) or "none"
            raise TokenError(f"There is no token {name}. Tokens: {known}.")
        del grants[found[0]]

    _change(storage, remove)


class TokenBook:
    """The tokens as a service sees them, read again once a second."""

    def __init__(self, storage: Storage):
        self._storage = storage
        self._grants: dict[str, Grant] = {}
        self._read_at = float("-inf")

    def find(self, token: str) -> Grant | None:
        """The grant of a token, None when it is unknown, wrong or expired; the time it takes says nothing of which."""
        if time.monotonic() - self._read_at > REFRESH_SECONDS:
            self._grants = read_grants(self._storage)
            self._read_at = time.monotonic()
        prefix, _, rest = token.partition("_")
        public, _, secret = rest.partition("_")
        grant = self._grants.get(public, _NOBODY)
        is_right = hmac.compare_digest(_hash(secret), grant.sha256)
        return grant if is_right and prefix == PREFIX and not grant.is_expired else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _read(storage: Storage) -> tuple[dict[str, Grant], str]:
    try:
        content, etag = storage.read(KEY)
    except NotThereError:
        return {}, ""
    stored = json.loads(content)["tokens"]
    return {one["id"]: _grant(one) for one in stored}, etag


def _grant(stored: dict[str, Any]) -> Grant:
    sees = stored.get("sees")
    sights = None if sees is None else {name: Sight(one["where"], tuple(one["hidden"])) for name, one in sees.items()}
    return Grant(**{**stored, "environments": tuple(stored["environments"]), "sees": sights})


def _change(storage: Storage, change: Callable[[dict[str, Grant]], None]) -> None:
    for _ in range(ATTEMPTS):
        grants, etag = _read(storage)
        change(grants)
        content = json.dumps({"tokens": [asdict(one) for one in grants.values()]}, indent=1).encode()
        try:
            if etag:
                storage.write(KEY, content, replacing=etag)
            else:
                storage.write(KEY, content, new=True)
            return
        except ConflictError:
            continue
    raise TokenError("Others keep changing the tokens: try again.")
