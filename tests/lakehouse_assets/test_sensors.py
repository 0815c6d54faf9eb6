"""Sensors take the place of polling scripts: what landed is loaded once, what it touched is computed once."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.lakehouse_assets.conftest import House


def tick(house: House, sensor: str, cursor: str | None = None) -> Any:
    """One evaluation of a sensor."""
    definition = house.definitions.get_sensor_def(sensor)
    context = dg.build_sensor_context(instance=house.instance, cursor=cursor, definitions=house.definitions)
    return definition(context)


def test_a_landed_file_is_asked_for_until_it_is_loaded_and_never_again(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr("lakehouse.landing.zones.SETTLE_SECONDS", 0.0)
    house.load_events()
    assert isinstance(tick(house, "ecommerce_landing_sensor"), dg.SkipReason)
    house.land_events("ecommerce_events_sensed.parquet", "SELECT 55555, 1, 'purchase', '2010-11-01', 5")
    first, second = tick(house, "ecommerce_landing_sensor"), tick(house, "ecommerce_landing_sensor")
    assert [request.run_key for request in first.run_requests] == [request.run_key for request in second.run_requests]
    house.load_events()
    assert isinstance(tick(house, "ecommerce_landing_sensor"), dg.SkipReason)


@pytest.mark.slow
def test_a_refused_file_is_not_tried_again_until_it_changes(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr("lakehouse.landing.zones.SETTLE_SECONDS", 0.0)
    bad = Path(house.lake.settings.landing_uri) / "ecommerce" / "ecommerce_events_refused.parquet"
    bad.write_bytes(b"not Parquet")
    assert not house.load_events(raise_on_error=False).success
    assert isinstance(tick(house, "ecommerce_landing_sensor"), dg.SkipReason)
    bad.write_bytes(b"still not Parquet")
    assert tick(house, "ecommerce_landing_sensor").run_requests
    bad.unlink()


def test_a_file_that_is_still_being_copied_waits(house: House) -> None:
    path = house.land_events("ecommerce_events_fresh.parquet", "SELECT 55556, 1, 'purchase', '2010-11-01', 5")
    assert isinstance(tick(house, "ecommerce_landing_sensor"), dg.SkipReason)
    path.unlink()


@pytest.mark.slow
def test_catch_up_follows_a_load_that_changed_something_once(house: House) -> None:
    house.run("catch_up")
    assert isinstance(tick(house, "catch_up_sensor"), dg.SkipReason)
    house.land_events("ecommerce_events_follow.parquet", "SELECT 55557, 1, 'purchase', '2010-11-02', 5")
    house.load_events()
    asked = tick(house, "catch_up_sensor")
    assert len(asked.run_requests) == 1
    assert isinstance(tick(house, "catch_up_sensor", asked.cursor), dg.SkipReason)
