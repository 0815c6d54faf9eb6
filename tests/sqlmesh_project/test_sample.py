"""The demo's sample has the schemas of the real feeds and their kinds of dirt, and is the same every time."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lakehouse.demo.sample import write_sample


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(sample_files, tmp_path):
    write_sample(tmp_path / "again")
    write_sample(tmp_path / "other", seed=1)
    assert files(tmp_path / "again") == files(sample_files)
    other = files(tmp_path / "other")
    assert other.keys() == files(sample_files).keys()
    assert all(other[name] != content for name, content in files(sample_files).items())


@pytest.mark.parametrize(
    ("made", "real"),
    [
        ("collisions/collisions_soda_strings.parquet", "collisions/collisions_soda_strings.parquet"),
        ("ecommerce/ecommerce_events_2009_12.parquet", "ecommerce/ecommerce_events_2009_2010.parquet"),
    ],
)
def test_parquet_files_have_the_real_schema(sample_files, shared_data, made, real):
    assert pq.read_schema(sample_files / made).equals(pq.read_schema(shared_data / real))


@pytest.mark.parametrize(
    "pattern",
    ["taxi/yellow_tripdata_sample_*.csv", "taxi/taxi_zone_lookup.csv", "humanitarian/wfp_food_prices_global_*.csv"],
)
def test_csv_files_have_the_real_header(sample_files, shared_data, pattern):
    def headers(folder: Path) -> set[bytes]:
        return {path.read_bytes().splitlines()[0].removeprefix(b"\xef\xbb\xbf") for path in folder.glob(pattern)}

    assert headers(sample_files) == headers(shared_data)


def test_the_files_are_as_dirty_as_the_real_ones(sample_files):
    prices = [
        (sample_files / f"humanitarian/wfp_food_prices_global_{year}.csv").read_bytes() for year in (2018, 2019, 2020)
    ]
    assert [text.startswith(b"\xef\xbb\xbf") for text in prices] == [False, True, False]
    assert [b"\n#country+code," in text for text in prices] == [False, False, True]
    assert all(b'"Kinkala,\n' in text for text in prices)
    january = (sample_files / "taxi/yellow_tripdata_sample_2019-01.csv").read_bytes()
    assert 0 < january.count(b"\r\n") < january.count(b"\n")


def test_the_sample_has_rows_to_reject(sample):
    reasons = {reason for (reason,) in sample.query("SELECT DISTINCT reason FROM marts.rejected_rows")}
    assert reasons == {"pick-up lies outside the month of its file", "total_amount is negative"}
    [(no_user, written_off)] = sample.query(
        "SELECT COUNT(*) FILTER (WHERE user_id IS NULL), COUNT(*) FILTER (WHERE invoice LIKE 'A%') "
        "FROM staging.stg_ecommerce__events"
    )
    assert no_user > 0
    assert written_off > 0
    [(no_borough, no_place)] = sample.query(
        "SELECT COUNT(*) FILTER (WHERE borough IS NULL), COUNT(*) FILTER (WHERE latitude IS NULL) "
        "FROM staging.stg_nyc_collisions__crashes"
    )
    assert no_borough > 1_000
    assert no_place > 100
