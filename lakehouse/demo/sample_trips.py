"""Taxi trips, a CSV file a month, and the names of the zones, as the real ones are."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

TRIPS_PER_MONTH = 4_000
MONTHS = ((2018, 11), (2018, 12), (2019, 1), (2019, 2), (2019, 3), (2019, 4))
MIXED_LINE_ENDS = ((2019, 1), (2019, 2))
SURCHARGE_BEGAN = (2019, 2)
ZONES = 265
BOROUGHS = ("Manhattan", "Brooklyn", "Queens", "Bronx", "Staten Island")
SIDES = ("North", "South", "East", "West", "Upper", "Lower", "Old", "New", "Outer", "Inner")
PLACES = (
    "Harbor", "Heights", "Hill", "Market", "Meadows", "Mills", "Park", "Point", "Square", "Village",
    "Bridge", "Brook", "Common", "Corner", "Dock", "Fields", "Gardens", "Gate", "Green", "Grove",
    "Island", "Landing", "Ridge", "Shore", "Station", "Terrace", "Yard",
)  # fmt: skip
HEADER = (
    "vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,rate_code_id,store_and_fwd_flag,"
    "pickup_location_id,dropoff_location_id,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,"
    "improvement_surcharge,total_amount,congestion_surcharge"
)


def write(folder: Path, random: Random) -> None:
    """Dirt: a few totals negative, a few trips outside the month, two files with both kinds of line ends.

    Two zones share a name.
    """
    for year, month in MONTHS:
        lines = [HEADER, *(_trip(random, year, month, row) for row in range(TRIPS_PER_MONTH))]
        mixed = (year, month) in MIXED_LINE_ENDS
        text = "".join(line + ("\r\n" if mixed and random.random() < 0.9 else "\n") for line in lines)
        (folder / f"yellow_tripdata_sample_{year}-{month:02}.csv").write_bytes(text.encode())
    (folder / "taxi_zone_lookup.csv").write_text(_zones(random))


def _zones(random: Random) -> str:
    """Made-up names; the last two numbers stand for what is unknown."""
    names = [f"{side} {place}" for side in SIDES for place in PLACES]
    random.shuffle(names)
    rows = [f'{number},"{random.choice(BOROUGHS)}","{names[number]}","Boro Zone"' for number in range(1, ZONES - 1)]
    rows[56] = rows[55].replace("56,", "57,", 1)
    unknown = [f'{ZONES - 1},"Unknown","NV","N/A"', f'{ZONES},"Unknown","NA","N/A"']
    return "\n".join(['"locationid","borough","zone","service_zone"', *rows, *unknown, ""])


def _trip(random: Random, year: int, month: int, row: int) -> str:
    pickup = datetime(year, month, 1) + timedelta(seconds=random.randrange(monthrange(year, month)[1] * 86_400))
    if row % 1_500 == 700:  # a taximeter with a wrong clock
        pickup = datetime(2008, 12, 31, 23, 49, 36) if row < 1_000 else pickup - timedelta(days=40)
    distance = round(random.lognormvariate(0.5, 0.9), 2)
    dropoff = pickup + timedelta(seconds=round(120 + 240 * distance + random.randrange(600)))
    fare = round(2.5 + 2.5 * distance + random.randrange(10) * 0.5, 2)
    extra = random.choice((0.0, 0.0, 0.5, 1.0))
    card = random.random() < 0.7
    tip = round(fare * random.choice((0.0, 0.1, 0.2)), 2) if card else 0.0
    surcharge = 2.5 if (year, month) >= SURCHARGE_BEGAN else None
    payment = "1" if card else "2"
    sign = 1
    if row % 800 == 400:  # a voided ride: every amount is taken back
        sign, payment, tip = -1, "4", 0.0
    amounts = [sign * amount for amount in (fare, extra, 0.5, tip, 0.0, 0.3)]
    total = round(sum(amounts) + (sign * surcharge if surcharge else 0), 2)
    # The busiest zones have most of the trips, as in the real city.
    zones = [1 + int((ZONES - 1) * random.random() ** 2) for _ in range(2)]
    vendor, passengers = random.choice(("1", "2", "2", "4")), random.choice(("1", "1", "1", "2", "5"))
    rate, flag = "1", "N"
    if row % 600 == 300:  # trips that were booked by phone come without these
        vendor = passengers = rate = flag = payment = ""
    last = "" if surcharge is None else sign * surcharge
    return ",".join(
        str(value)
        for value in (vendor, pickup, dropoff, passengers, distance, rate, flag, *zones, payment, *amounts, total, last)
    )
