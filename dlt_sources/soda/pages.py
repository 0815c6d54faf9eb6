"""Read a portal's rows in the order of their changes, so that rows that move meanwhile are met again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from dlt_sources.soda.client import PortalUnavailable, RequestRefused, SodaClient


@dataclass(frozen=True)
class Position:
    """The last row read, in the order of `:updated_at`, then `:id`."""

    updated_at: str
    row_id: str = ""

    def later(self) -> str:
        """The $where for every row after this one."""
        same_time = f"(:updated_at = '{self.updated_at}' AND :id > '{self.row_id}')"
        return f"(:updated_at > '{self.updated_at}' OR {same_time})"

    def before(self, seconds: float) -> Position:
        """The position this much earlier."""
        moment = datetime.fromisoformat(self.updated_at) - timedelta(seconds=seconds)
        return Position(moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z")


def pages(
    client: SodaClient, after: Position | None, where: str | None, size: int, select: str = ":*,*"
) -> Iterator[list[dict[str, Any]]]:
    """Pages of rows after a position, until the portal has none; `:updated_at` and `:id` in each row.

    A keyset, not an offset: rows inserted or changed meanwhile get a later `:updated_at` and come (again) at
    the end, and no row moves over a page's border. A short page is not the last one; an empty one is.
    """
    while True:
        conditions = [condition for condition in (where, after and after.later()) if condition]
        parameters: dict[str, str | int] = {"$select": select, "$order": ":updated_at,:id", "$limit": size}
        if conditions:
            parameters["$where"] = " AND ".join(conditions)
        rows = client.rows(parameters)
        if not rows:
            return
        try:
            last = Position(rows[-1][":updated_at"], rows[-1][":id"])
        except KeyError as error:
            raise RequestRefused(f"{client.url} gives no {error}: its changes can't be followed") from error
        if after and (last == after or last.updated_at < after.updated_at):
            raise PortalUnavailable(f"{client.url} ignores the order or the $where: {last} comes after {after}")
        after = last
        yield rows


@dataclass
class Window:
    """The rows read whose `:updated_at` is close to the newest one: they may yet get neighbours.

    A portal stamps a row when its change begins and shows it when it is done: a row may show up with a time
    that has been read already. If the window's digest is the same at the next load, none did.
    """

    seconds: float
    stamps: dict[str, str] = field(default_factory=dict)
    newest: Position | None = None

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Take note of rows, in the portal's order, and forget those that are no longer close."""
        self.stamps |= {row[":id"]: row[":updated_at"] for row in rows}
        self.newest = Position(rows[-1][":updated_at"], rows[-1][":id"])
        start = self.newest.before(self.seconds).updated_at
        self.stamps = {row_id: stamp for row_id, stamp in self.stamps.items() if stamp > start}

    def digest(self) -> str:
        """The same for the same rows with the same times."""
        lines = "\n".join(sorted(f"{row_id} {stamp}" for row_id, stamp in self.stamps.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def window_up_to(client: SodaClient, newest: Position, seconds: float, where: str | None, size: int) -> Window:
    """The window that the portal shows now, up to a position that was the newest."""
    start = newest.before(seconds).updated_at
    bounds = f":updated_at > '{start}' AND :updated_at <= '{newest.updated_at}'"
    window = Window(seconds)
    restricted = f"{where} AND {bounds}" if where else bounds
    for rows in pages(client, None, restricted, size, select=":id,:updated_at"):
        window.stamps |= {row[":id"]: row[":updated_at"] for row in rows}
    window.newest = newest
    return window
