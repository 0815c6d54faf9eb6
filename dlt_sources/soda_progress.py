"""How far a portal has been read, kept in dlt's state from load to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlt_sources.confirmed_loads import confirmed_loads
from dlt_sources.soda import SodaClient
from dlt_sources.soda_pages import Position, Window, window_up_to


@dataclass
class Progress:
    """Where a load starts, and what is to be kept when it is through.

    State holds two entries at most: the last load that the destination confirms, and the one under way.
    Each: the newest `:updated_at` and `:id`, the digest of the window before it, the $where, the load.
    """

    state: dict[str, Any]
    confirmed: list[dict[str, Any]]
    start: Position | None
    window: Window
    where: str | None

    @classmethod
    def resume(
        cls, state: dict[str, Any], client: SodaClient, where: str | None, overlap_seconds: float, page_rows: int
    ) -> Progress:
        """Start after the last confirmed load; a little earlier, when rows have slipped in there meanwhile."""
        entries = state.get("loads", [])
        known = confirmed_loads({entry["load_id"] for entry in entries})
        confirmed = [entry for entry in entries if entry["load_id"] in known][-1:]
        if not confirmed or _is_wider(where, confirmed[0]["where"]):
            return cls(state, confirmed, None, Window(overlap_seconds), where)
        entry = confirmed[0]
        newest = Position(entry["updated_at"], entry["id"])
        shown = window_up_to(client, newest, entry["overlap_seconds"], entry["where"], page_rows)
        if shown.digest() == entry["digest"] and entry["overlap_seconds"] == overlap_seconds:
            return cls(state, confirmed, newest, shown, where)
        return cls(state, confirmed, newest.before(overlap_seconds), Window(overlap_seconds), where)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Take note of a page."""
        self.window.add(rows)

    def save(self, load_id: str) -> None:
        """Keep how far this load came, if it met any row."""
        newest = self.window.newest
        if newest is None or (newest == self._confirmed_position() and not self._window_changed()):
            return
        entry = {
            "updated_at": newest.updated_at,
            "id": newest.row_id,
            "digest": self.window.digest(),
            "overlap_seconds": self.window.seconds,
            "where": self.where,
            "load_id": load_id,
        }
        self.state["loads"] = [*self.confirmed, entry]

    def _confirmed_position(self) -> Position | None:
        return Position(self.confirmed[0]["updated_at"], self.confirmed[0]["id"]) if self.confirmed else None

    def _window_changed(self) -> bool:
        return not self.confirmed or self.confirmed[0]["digest"] != self.window.digest()


def _is_wider(where: str | None, before: str | None) -> bool:
    """Whether rows are wanted now that the last load left out. (Both say `crash_date >= '…'`, or nothing.)"""
    return before is not None and (where is None or where < before)
