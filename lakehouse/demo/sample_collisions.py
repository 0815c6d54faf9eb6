"""Collisions as the open-data portal holds them: 29 columns of text, for a local portal to serve."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

COLLISIONS = 6_000
LATE = 60
FIRST_DAY, DAYS = date(2023, 10, 1), 183
COLUMNS = (
    "crash_date", "crash_time", "borough", "zip_code", "latitude", "longitude", "location", "on_street_name",
    "off_street_name", "cross_street_name", "number_of_persons_injured", "number_of_persons_killed",
    "number_of_pedestrians_injured", "number_of_pedestrians_killed", "number_of_cyclist_injured",
    "number_of_cyclist_killed", "number_of_motorist_injured", "number_of_motorist_killed",
    "contributing_factor_vehicle_1", "contributing_factor_vehicle_2", "contributing_factor_vehicle_3",
    "contributing_factor_vehicle_4", "contributing_factor_vehicle_5", "collision_id", "vehicle_type_code1",
    "vehicle_type_code2", "vehicle_type_code_3", "vehicle_type_code_4", "vehicle_type_code_5",
)  # fmt: skip
BOROUGHS = ("BROOKLYN", "QUEENS", "MANHATTAN", "BRONX", "STATEN ISLAND")
FACTORS = ("Unspecified", "Driver Inattention/Distraction", "Failure to Yield Right-of-Way", "Unsafe Speed")
VEHICLES = ("Sedan", "Station Wagon/Sport Utility Vehicle", "Taxi", "Bike", "Box Truck", "sedan", "TAXI", "Van")
STREETS = ("BROADWAY", "QUEENS BOULEVARD", "ATLANTIC AVENUE", "5 AVENUE", "BELT PARKWAY", "GRAND CONCOURSE")


def write(folder: Path, random: Random) -> None:
    """Dirt: a third without a borough, places of 0 or none, years-old records at the end, many spellings."""
    rows = [_collision(random, number) for number in range(COLLISIONS)]
    table = pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in COLUMNS]))
    pq.write_table(table, folder / "collisions_soda_strings.parquet")


def _collision(random: Random, number: int) -> dict[str, str]:
    """One record. What the portal has no value for is left out, as it does."""
    late = number >= COLLISIONS - LATE
    day = FIRST_DAY + timedelta(days=number * DAYS // COLLISIONS)
    if late:
        day = date(2013, 5, 17) + timedelta(days=random.randrange(3_400))
    hour, minute = random.randrange(24), random.randrange(60)
    crash = {
        "crash_date": f"{day}T00:00:00.000",
        "crash_time": f"{hour}:{minute:02}" if random.random() < 0.05 else f"{hour:02}:{minute:02}",
        "collision_id": str(4_660_000 + number),
        "on_street_name": random.choice(STREETS),
        **_place(random),
        **_persons(random),
    }
    vehicles = random.choice((1, 2, 2, 2, 3, 5))
    for index, suffix in enumerate(("1", "2", "_3", "_4", "_5")[:vehicles], start=1):
        crash[f"vehicle_type_code{suffix}"] = random.choice(VEHICLES)
        crash[f"contributing_factor_vehicle_{index}"] = random.choice(FACTORS)
    return crash


def _place(random: Random) -> dict[str, str]:
    place: dict[str, str] = {}
    if random.random() < 0.68:
        place["borough"] = random.choice(BOROUGHS)
        place["zip_code"] = str(random.randint(10_001, 11_697))
    chance = random.random()
    if chance < 0.07:
        return place
    latitude = "0.0" if chance < 0.075 else f"{random.uniform(40.5, 40.91):.6f}"
    longitude = "0.0" if chance < 0.075 else f"{random.uniform(-74.2, -73.7):.5f}"
    address = json.dumps({"address": "", "city": "", "state": "", "zip": ""})
    location = json.dumps(
        {"latitude": latitude, "longitude": longitude, "human_address": address}, separators=(",", ":")
    )
    return {**place, "latitude": latitude, "longitude": longitude, "location": location}


def _persons(random: Random) -> dict[str, str]:
    """Injured and killed by kind of road user, and over all."""
    users = ("pedestrians", "cyclist", "motorist")
    counts = {f"number_of_{who}_{what}": 0 for who in users for what in ("injured", "killed")}
    for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
        counts[f"number_of_{random.choice((*users, 'motorist'))}_injured"] += 1
    if random.random() < 0.004:
        counts[f"number_of_{random.choice(users)}_killed"] += 1
    for what in ("injured", "killed"):
        counts[f"number_of_persons_{what}"] = sum(count for name, count in counts.items() if name.endswith(what))
    return {name: str(count) for name, count in counts.items()}
