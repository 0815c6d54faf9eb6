"""The table of collisions: the portal's 29 fields as it sends them, and its own three about each row."""

from __future__ import annotations

from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.json import json
from dlt.common.normalizers.utils import generate_dlt_ids

from dlt_sources.soda import RequestRefused
from dlt_sources.tables import LOAD_ID, Column, Table

FIELDS = {
    "crash_date": "Day of the crash, 2022-06-30T00:00:00.000.",
    "crash_time": "Time of the crash, New York local time, not padded: 9:05.",
    "borough": "Borough.",
    "zip_code": "Postal code.",
    "latitude": "Degrees north; 0 where unknown.",
    "longitude": "Degrees east; 0 where unknown.",
    "location": "Latitude, longitude and address as a JSON object.",
    "on_street_name": "Street of the crash.",
    "off_street_name": "Nearest cross street.",
    "cross_street_name": "Address, when the crash was off the street.",
    "number_of_persons_injured": "Persons injured.",
    "number_of_persons_killed": "Persons killed.",
    "number_of_pedestrians_injured": "Pedestrians injured.",
    "number_of_pedestrians_killed": "Pedestrians killed.",
    "number_of_cyclist_injured": "Cyclists injured.",
    "number_of_cyclist_killed": "Cyclists killed.",
    "number_of_motorist_injured": "Occupants of vehicles injured.",
    "number_of_motorist_killed": "Occupants of vehicles killed.",
    "contributing_factor_vehicle_1": "What contributed to the crash, first vehicle.",
    "contributing_factor_vehicle_2": "What contributed to the crash, second vehicle.",
    "contributing_factor_vehicle_3": "What contributed to the crash, third vehicle.",
    "contributing_factor_vehicle_4": "What contributed to the crash, fourth vehicle.",
    "contributing_factor_vehicle_5": "What contributed to the crash, fifth vehicle.",
    "collision_id": "The portal's number of the crash: the key.",
    "vehicle_type_code1": "Kind of the first vehicle, as written.",
    "vehicle_type_code2": "Kind of the second vehicle, as written.",
    "vehicle_type_code_3": "Kind of the third vehicle, as written.",
    "vehicle_type_code_4": "Kind of the fourth vehicle, as written.",
    "vehicle_type_code_5": "Kind of the fifth vehicle, as written.",
}
SYSTEM_FIELDS = {":id": "portal_id", ":created_at": "portal_created_at", ":updated_at": "portal_updated_at"}

CRASHES = Table(
    name="nyc_collisions__crashes",
    description=(
        "Motor vehicle collisions reported by New York's police, every value as the open-data portal sends it. "
        "One row per crash."
    ),
    columns=(
        *(Column(name, "VARCHAR", description) for name, description in FIELDS.items()),
        Column("portal_id", "VARCHAR", "The portal's own number of the row."),
        Column("portal_created_at", "TIMESTAMPTZ", "When the portal first showed the row."),
        Column("portal_updated_at", "TIMESTAMPTZ", "When the portal last changed the row."),
        LOAD_ID,
        Column("_dlt_id", "VARCHAR", "A number that this version of the row alone has."),
    ),
    key=("collision_id",),
    event_time="crash_date",
    fields={**{name: (name,) for name in FIELDS}, **{column: (name,) for name, column in SYSTEM_FIELDS.items()}},
)


def as_arrow(rows: list[dict[str, Any]], load_id: str, schema: dlt.Schema) -> pa.Table:
    """A page as an Arrow table, which dlt takes as it is; dicts it would walk one by one.

    Fields new to the portal come along.

    Portals leave out what is null. System fields but the three are the portal's own business.
    """
    if nameless := [row.get(":id") for row in rows if not row.get("collision_id")]:
        raise RequestRefused(f"the portal's rows {nameless[:3]} have no collision_id; nothing was loaded")
    new = {name for row in rows for name in row if not name.startswith(":")} - FIELDS.keys()
    arrays = {name: _texts(rows, name) for name in FIELDS}
    for field, name in SYSTEM_FIELDS.items():
        arrays[name] = _texts(rows, field)
        if name != "portal_id":
            arrays[name] = pc.cast(arrays[name], pa.timestamp("us", tz="UTC"))
    arrays[LOAD_ID.name] = pa.array([load_id] * len(rows), pa.string())
    arrays["_dlt_id"] = pa.array(generate_dlt_ids(len(rows)), pa.string())
    arrays |= {schema.naming.normalize_identifier(name): _texts(rows, name) for name in sorted(new)}
    key = set(CRASHES.key)
    fields = [pa.field(name, array.type, nullable=name not in key) for name, array in arrays.items()]
    return pa.table(list(arrays.values()), pa.schema(fields))


def _texts(rows: list[dict[str, Any]], field: str) -> pa.Array:
    values = [row.get(field) for row in rows]
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # an object (location), or a boolean
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pa.array(texts, pa.string())
