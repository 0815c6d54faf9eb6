"""Motor vehicle collisions reported by New York's police, every value as the open-data portal sends it.

Settings, under `[sources.nyc_collisions]`: `since` (a date) leaves out earlier crashes; `app_token` only raises the
portal's rate limit; `base_url` is another portal.
"""

from dlt_sources.soda.source import SodaDataset

COLUMNS = {
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
DATASET = SodaDataset(
    "crashes",
    "https://data.cityofnewyork.us",
    "h9gi-nx95",
    columns=COLUMNS,
    key="collision_id",
    time="crash_date",
    description="Motor vehicle collisions reported by New York's police, as the open-data portal sends them. "
    "One row per crash.",
)
crashes = DATASET.resource
LAKEHOUSE = {"event_time": {"crashes": "crash_date"}, "count": {"crashes": DATASET.count}}
