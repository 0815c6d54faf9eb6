"""How far a portal has been read, kept in dlt's state from load to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlt_sources.soda.client import SodaClient
from dlt_sources.soda.pages import Position, Window, window_up_to


@dataclass
class Progress:
    """Where a load starts, and what is to be kept when it is through.

    State holds the newest `:updated_at` and `:id` of the last load, the digest of the window before it, the $where.
    """

    state: dict[str, Any]
    start: Position | None
    window: Window
    where: str | None

    @classmethod
    def resume(
        cls, state: dict[str, Any], client: SodaClient, where: str | None, overlap_seconds: float, page_rows: int
    ) -> Progress:
        """Start after the last load; a little earlier, when rows have slipped in there meanwhile."""
        entry = state.get("read")
        if not entry or _is_wider(where, entry["where"]):
            return cls(state, None, Window(overlap_seconds), where)
        newest = Position(entry["updated_at"], entry["id"])
        shown = window_up_to(client, newest, entry["overlap_seconds"], entry["where"], page_rows)
        if shown.digest() == entry["digest"] and entry["overlap_seconds"] == overlap_seconds:
            return cls(state, newest, shown, where)
        return cls(state, newest.before(overlap_seconds), Window(overlap_seconds), where)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Take note of a page."""
        self.window.add(rows)

    def save(self) -> None:
        """Keep how far this load came, if it met any row."""
        newest = self.window.newest
        if newest is not None:
            self.state["read"] = {
                "updated_at": newest.updated_at,
                "id": newest.row_id,
                "digest": self.window.digest(),
                "overlap_seconds": self.window.seconds,
                "where": self.where,
            }


def _is_wider(where: str | None, before: str | None) -> bool:
    """Whether rows are wanted now that the last load left out. (Both say `<time> >= '…'`, or nothing.)"""
    return before is not None and (where is None or where < before)
