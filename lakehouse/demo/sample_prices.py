"""Food prices in markets: a CSV file a year."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from random import Random

COLUMNS = (
    "countryiso3", "date", "admin1", "admin2", "market", "market_id", "latitude", "longitude", "category", "commodity",
    "commodity_id", "unit", "priceflag", "pricetype", "currency", "price", "usdprice",
)  # fmt: skip
TAGS = (
    "#country+code", "#date", "#adm1+name", "#adm2+name", "#loc+market+name", "#loc+market+code", "#geo+lat",
    "#geo+lon", "#item+type", "#item+name", "#item+code", "#item+unit", "#item+price+flag", "#item+price+type",
    "#currency+code", "#value", "#value+usd",
)  # fmt: skip
YEARS = (2018, 2019, 2020)
BYTE_ORDER_MARK_YEAR, TAG_ROW_YEAR = 2019, 2020
# Country, region, district, market, its number, latitude, longitude, currency, local units to the US dollar.
MARKETS = (
    ("BLR", "Minsk City", "Minsk City", "Minsk", 2618, 53.91, 27.56, "BYR", 2.1),
    ("COG", "Bouenza", "Nkayi", "Nkayi", 1821, -4.18, 13.29, "XAF", 560.0),
    ("COG", "Pool", "Kinkala", "Kinkala,\nmarché central", 1822, -4.36, 14.76, "XAF", 560.0),
    ("NIC", "", "", "National Average", 974, "", "", "NIO", 32.5),
    ("PSE", "Gaza Strip", "Gaza", "Gaza", 1056, 31.5, 34.47, "ILS", 3.6),
    ("PSE", "West Bank", "Hebron", 'Hebron "Old City"', 1057, 31.53, 35.09, "ILS", 3.6),
    ("SYR", "Aleppo", "Jebel Saman", "Aleppo", 1271, 36.2, 37.13, "SYP", 510.0),
    ("SYR", "Damascus", "Damascus", "Damascus", 1272, 33.51, 36.29, "SYP", 510.0),
)
# Category, commodity, its number, unit, price in US dollars.
COMMODITIES = (
    ("cereals and tubers", "Rice (mixed, low quality)", 165, "KG", 1.1),
    ("cereals and tubers", "Rice (mixed, low quality)", 165, "50 KG", 46.0),
    ("cereals and tubers", "Wheat flour", 58, "KG", 0.6),
    ("cereals and tubers", "Potatoes", 83, "KG", 0.45),
    ("meat, fish and eggs", "Fish (fresh)", 401, "KG", 5.8),
    ("milk and dairy", "Milk", 61, "L", 1.3),
    ("oil and fats", "Oil (vegetable)", 96, "L", 1.9),
    ("pulses and nuts", "Lentils", 55, "KG", 1.2),
    ("vegetables and fruits", "Tomatoes", 114, "KG", 0.9),
    ("non-food", "Fuel (diesel)", 284, "L", 0.8),
)


def write(folder: Path, random: Random) -> None:
    """Dirt: one file with a byte-order mark, one with a row of tags, names with commas, quotes and line breaks."""
    for year in YEARS:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        if year == TAG_ROW_YEAR:
            writer.writerow(TAGS)
        for month in range(1, 13):
            writer.writerows(_prices(random, year, month))
        encoding = "utf-8-sig" if year == BYTE_ORDER_MARK_YEAR else "utf-8"
        (folder / f"wfp_food_prices_global_{year}.csv").write_bytes(text.getvalue().encode(encoding))


def _prices(random: Random, year: int, month: int) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    inflation = 1.04 ** (year - YEARS[0]) * 1.003**month
    for iso3, admin1, admin2, market, market_id, latitude, longitude, currency, rate in MARKETS:
        where = (admin1, admin2, market, market_id, latitude, longitude)
        for category, commodity, commodity_id, unit, base in COMMODITIES:
            dollars = round(base * inflation * random.uniform(0.8, 1.25), 2)
            # Nicaragua's fuel is priced in dollars, everything else in the local currency.
            code, local = ("USD", 1.0) if (iso3, category) == ("NIC", "non-food") else (currency, rate)
            flag = random.choice(("actual", "actual", "aggregate", "actual,aggregate"))
            kind = "Wholesale" if unit == "50 KG" else "Retail"
            price = round(dollars * local, 2)
            goods = (category, commodity, commodity_id, unit, flag, kind)
            rows.append((iso3, f"{year}-{month:02}-15", *where, *goods, code, price, dollars))
    return rows
