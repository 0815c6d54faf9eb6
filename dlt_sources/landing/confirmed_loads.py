"""Which loads really reached the destination: what a source's state says is believed for these only."""

from __future__ import annotations

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation


def current_load_id() -> str:
    """The load that is being extracted."""
    return dlt.current.load_package_state()["load_id"]


def confirmed_loads(load_ids: set[str]) -> set[str]:
    """Those of `load_ids` that the destination's `_dlt_loads` lists as complete.

    dlt saves state when it extracts, so a load that was given up, or a lake that was made anew beside old
    pipeline folders, would leave rows marked as loaded that nobody has.
    """
    if not load_ids:
        return set()
    with dlt.current.pipeline().sql_client() as client:
        try:
            loads = client.execute_sql("SELECT load_id FROM _dlt_loads WHERE status = 0") or []
        except DatabaseUndefinedRelation:
            return set()
    return load_ids & {load_id for (load_id,) in loads}
