"""Letting go of releases takes nothing else along."""

from __future__ import annotations

from lakehouse.releases import log
from lakehouse.upkeep.maintenance import releases
from tests.lakehouse.maintenance.conftest import Tended


def test_what_users_publish_themselves_stays(tended: Tended) -> None:
    """Their assets with `io_manager_key="published_io"`, in an environment without any release and in one with."""
    snapshot = tended.small_increments(1)
    release = log.write(tended.ledger, "dev_x", snapshot, [], code_version="v", run="r", author="a", changed=["c"])
    log.give_up(tended.ledger, release, "never mind")
    for environment in ("prod", "dev_x"):
        tended.lake.storage.write(f"published/{environment}/assets/mine.parquet", b"mine")
    releases.prune(tended.lake)
    for environment in ("prod", "dev_x"):
        assert tended.lake.storage.find(f"published/{environment}/assets/mine.parquet")
