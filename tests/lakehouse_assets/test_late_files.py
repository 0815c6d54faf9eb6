"""A file that lands reaches the marts unaided, and only its own days are computed again."""

from pathlib import Path

import dagster as dg
import pytest

from tests.lakehouse_assets.conftest import House

DAYS = "SELECT i, i % 7, 'purchase', TIMESTAMP '2010-01-01' + INTERVAL (i) HOUR, 1.5 FROM range(24 * 60) t(i)"
ASSET = dg.AssetKey(["raw", "ecommerce__events"])


def revenue(house: House) -> dict[str, float]:
    return dict(house.rows("SELECT event_date::VARCHAR, total_revenue::DOUBLE FROM marts.daily_revenue"))


def computed_in(house: House, year: int) -> dict[str, object]:
    """When each day of the year was computed. A test has a year of its own."""
    return {day: when for day, when in house.computed_at().items() if day.startswith(str(year))}


def raw_revenue(house: House) -> dict[str, float]:
    return dict(
        house.rows(
            "SELECT event_timestamp::DATE::VARCHAR, sum(revenue)::DOUBLE FROM raw.ecommerce__events "
            "WHERE event_type = 'purchase' GROUP BY 1"
        )
    )


@pytest.mark.slow
def test_a_late_file_recomputes_its_days_and_no_other(house: House) -> None:
    house.land_events("ecommerce_events_a.parquet", DAYS)
    house.load_events()
    house.run("catch_up")
    assert revenue(house) == raw_revenue(house)
    before = computed_in(house, 2010)
    assert len(before) == 60

    late = (
        "SELECT 900000 + i, 1, 'purchase', TIMESTAMP '2010-01-05 10:00:00' + INTERVAL (i * 20) DAY, 100 "
        "FROM range(2) t(i)"
    )
    house.land_events("ecommerce_events_late.parquet", late)
    result = house.load_events()
    (load,) = result.asset_materializations_for_node("ecommerce")
    assert load.metadata["rows_inserted"].value == 2
    assert load.metadata["touched"].value == "2010-01-05 10:00 – 2010-01-05 11:00, 2010-01-25 10:00 – 2010-01-25 11:00"
    house.run("catch_up")

    after = computed_in(house, 2010)
    assert {day for day in after if after[day] != before.get(day)} == {"2010-01-05", "2010-01-25"}
    assert revenue(house) == raw_revenue(house)


@pytest.mark.slow
def test_a_second_load_on_the_same_day_arrives_and_nothing_new_computes_nothing(house: House) -> None:
    house.land_events(
        "ecommerce_events_b.parquet",
        DAYS.replace("2010-01-01", "2011-01-01").replace("24 * 60", "24 * 3").replace("SELECT i,", "SELECT 30000 + i,"),
    )
    late = "SELECT {first} + i, 1, 'purchase', TIMESTAMP '2011-01-02 10:00:00', 100 FROM range(2) t(i)"
    for number in (910_000, 950_000):
        house.land_events(f"ecommerce_events_late_{number}.parquet", late.format(first=number))
        house.load_events()
        house.run("catch_up")
        assert revenue(house) == raw_revenue(house)
    settled = house.computed_at()
    house.load_events()
    house.run("catch_up")
    assert house.computed_at() == settled


@pytest.mark.proof
def test_a_changed_file_replaces_its_own_rows_and_the_days_that_it_left(house: House) -> None:
    house.land_events(
        "ecommerce_events_c.parquet", DAYS.replace("2010-01-01", "2012-05-01").replace("SELECT i,", "SELECT 10000 + i,")
    )
    house.load_events()
    house.run("catch_up")
    before = computed_in(house, 2012)
    moved = (
        DAYS.replace("2010-01-01", "2012-05-02").replace("SELECT i,", "SELECT 10000 + i,").replace("24 * 60", "24 * 2")
    )
    house.land_events("ecommerce_events_c.parquet", moved)
    house.load_events()
    house.run("catch_up")
    assert revenue(house) == raw_revenue(house)
    after = computed_in(house, 2012)
    assert set(before) - set(after) == {day for day in before if day == "2012-05-01" or day > "2012-05-03"}
    unchanged = {day for day in after if after[day] == before.get(day)}
    assert unchanged == set()
    assert len(after) == 2


@pytest.mark.slow
def test_a_deleted_file_takes_its_days_out_of_the_marts_and_no_other(house: House) -> None:
    days = DAYS.replace("24 * 60", "24 * 3").replace("SELECT i,", "SELECT 20000 + i,")
    house.land_events("ecommerce_events_stays.parquet", days.replace("2010-01-01", "2013-01-01"))
    path = house.land_events(
        "ecommerce_events_goes.parquet", days.replace("20000", "21000").replace("2010-01-01", "2013-01-03")
    )
    house.load_events()
    house.run("catch_up")
    before = computed_in(house, 2013)
    assert sorted(before) == [f"2013-01-0{day}" for day in range(1, 6)]
    path.unlink()
    house.load_events()
    house.run("catch_up")
    assert revenue(house) == raw_revenue(house)
    after = computed_in(house, 2013)
    assert sorted(after) == [f"2013-01-0{day}" for day in range(1, 4)]
    assert {day for day in after if after[day] != before[day]} == {"2013-01-03"}


def test_a_corrupt_file_is_named_and_the_good_ones_beside_it_load(house: House) -> None:
    house.land_events("ecommerce_events_good.parquet", "SELECT 77777777, 1, 'purchase', '2010-08-01', 5")
    bad = Path(house.lake.settings.landing_uri) / "ecommerce" / "ecommerce_events_bad.parquet"
    bad.write_bytes(b"PAR1 this is no Parquet file PAR1")
    result = house.load_events(raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    described = failure.step_failure_data.user_failure_data
    assert described is not None and described.description is not None
    assert "ecommerce/ecommerce_events_bad.parquet" in described.description
    assert house.rows("SELECT revenue FROM raw.ecommerce__events WHERE event_id = 77777777") == [(5,)]
    assert house.marks("load") == []
    bad.unlink()
    assert house.load_events().success
