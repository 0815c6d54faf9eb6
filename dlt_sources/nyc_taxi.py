"""New York taxi trips: one file a month, whose column names have drifted over the years."""

from __future__ import annotations

from collections.abc import Sequence

import dlt
from dlt.extract import DltResource

from dlt_sources.landed import Dataset, LandedFile, LandingReport
from dlt_sources.landing_files import Fetch, landing_resource, link_local_file
from dlt_sources.tables import Column

DATASET = Dataset(
    name="nyc_taxi",
    entity="trips",
    description="Taxi trips as the monthly files of the NYC Taxi & Limousine Commission tell them. One row per trip.",
    pattern="*trip*",
    event_time="pickup_datetime",
    columns=(
        Column("vendor_id", "VARCHAR", "Who supplied the record: 1 Creative Mobile, 2 Curb.", ("VendorID",)),
        Column(
            "pickup_datetime", "TIMESTAMP", "When the meter was started, New York local time.",
            ("tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_at", "trip_pickup_datetime"), required=True,
        ),
        Column(
            "dropoff_datetime", "TIMESTAMP", "When the meter was stopped, New York local time.",
            ("tpep_dropoff_datetime", "lpep_dropoff_datetime", "dropoff_at", "trip_dropoff_datetime"),
            required=True,
        ),
        Column("passenger_count", "BIGINT", "Passengers, as entered by the driver."),
        Column("trip_distance", "DOUBLE", "Distance by the meter, in miles."),
        Column("rate_code_id", "VARCHAR", "Tariff: 1 standard, 2 JFK, 3 Newark, 5 negotiated.", ("RatecodeID",)),
        Column("store_and_fwd_flag", "VARCHAR", "Y when the record waited in the vehicle for a connection."),
        Column(
            "pickup_location_id", "BIGINT", "Taxi zone of the pick-up.", ("PULocationID",), required=True
        ),
        Column("dropoff_location_id", "BIGINT", "Taxi zone of the drop-off.", ("DOLocationID",)),
        Column("payment_type", "VARCHAR", "1 card, 2 cash, 3 no charge, 4 dispute, 5 unknown, 6 voided."),
        Column("fare_amount", "DOUBLE", "Fare by time and distance, in US dollars."),
        Column("extra", "DOUBLE", "Rush-hour and overnight charges, in US dollars."),
        Column("mta_tax", "DOUBLE", "Metropolitan transport tax, in US dollars."),
        Column("tip_amount", "DOUBLE", "Tips by card, in US dollars; cash tips are not known."),
        Column("tolls_amount", "DOUBLE", "Tolls paid, in US dollars."),
        Column("improvement_surcharge", "DOUBLE", "Improvement surcharge, in US dollars."),
        Column("total_amount", "DOUBLE", "What the passenger paid, in US dollars.", required=True),
        Column("congestion_surcharge", "DOUBLE", "Congestion surcharge, in US dollars; none before 2019."),
    ),
)  # fmt: skip


@dlt.source(name=DATASET.name)
def nyc_taxi(
    files: Sequence[LandedFile] = (),
    report: LandingReport | None = None,
    fetch: Fetch = link_local_file,
) -> DltResource:
    """Taxi trips from the monthly files in the landing zone."""
    return landing_resource(DATASET, files, report, fetch)
