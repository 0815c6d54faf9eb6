"""The README's commands around landed files, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.lakehouse_instance import LakehouseInstance

EVENTS = "event_id,user_id,event_type,event_timestamp,revenue\n"


def test_upload_load_list_restore_and_delete(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    house = new_lakehouse()
    early = house.lakehouse("files")
    assert (early.returncode, "`lakehouse bootstrap` creates" in early.stderr) == (1, True)
    assert house.lakehouse("bootstrap").returncode == 0
    exports = house.root / "exports"
    exports.mkdir()
    (exports / "events.csv").write_text(EVENTS + "1,7,purchase,2024-01-01 10:00:00,1.00\n")
    (exports / "events_bad.csv").write_text(EVENTS + "1,7,purchase,soon,1.00\n")
    done = house.lakehouse("upload", "exports", "--dataset", "ecommerce")
    assert done.returncode == 1
    assert (
        "refused exports/events_bad.csv: row 1, column event_timestamp: 'soon' is no TIMESTAMP (line 2)" in done.stderr
    )
    assert "ecommerce: 1 uploaded (90 B, 1 row); 1 refused." in done.stdout
    loaded = house.activated("dagster asset materialize --select raw/ecommerce__events")
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    listed = house.lakehouse("files", "ecommerce", "--versions", "--json")
    (file,) = json.loads(listed.stdout)
    assert (file["key"], file["state"], file["rows"]) == ("ecommerce/events.csv", "loaded", 1)
    assert all(len(line) <= 80 for line in house.lakehouse("files").stdout.splitlines())
    (exports / "events.csv").write_text(EVENTS + "2,7,purchase,2024-01-01 10:00:00,1.00\n")
    assert house.lakehouse("upload", "exports/events.csv", "--dataset", "ecommerce").returncode == 0
    restored = house.lakehouse("files", "restore", "ecommerce/events.csv", "--version", file["version"])
    assert restored.returncode == 0, restored.stderr
    assert house.lakehouse("files", "delete", "ecommerce/events.csv", "--yes").returncode == 0
    assert "gone" in house.lakehouse("files", "ecommerce").stdout
