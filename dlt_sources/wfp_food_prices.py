"""Food prices in the world's markets, as the World Food Programme collects them."""

from __future__ import annotations

from collections.abc import Sequence

import dlt
from dlt.extract import DltResource

from dlt_sources.landed import Dataset, LandedFile, LandingReport
from dlt_sources.landing_files import Fetch, landing_resource, link_local_file
from dlt_sources.tables import Column

DATASET = Dataset(
    name="wfp_food_prices",
    entity="prices",
    description="Market prices of food. One row per market, commodity, unit, kind of price and month.",
    pattern="wfp_food_prices*",
    event_time="date",
    columns=(
        Column("countryiso3", "VARCHAR", "Country, ISO 3166 in three letters; missing in one-country files."),
        Column("date", "DATE", "The month, as its 15th.", required=True),
        Column("admin1", "VARCHAR", "First-level area that the market lies in."),
        Column("admin2", "VARCHAR", "Second-level area that the market lies in."),
        Column("market", "VARCHAR", "Name of the market.", required=True),
        Column("market_id", "BIGINT", "Number of the market."),
        Column("latitude", "DOUBLE", "Degrees north."),
        Column("longitude", "DOUBLE", "Degrees east."),
        Column("category", "VARCHAR", "Group of commodities."),
        Column("commodity", "VARCHAR", "What is sold.", required=True),
        Column("commodity_id", "BIGINT", "Number of the commodity."),
        Column("unit", "VARCHAR", "Quantity that the price is for."),
        Column("priceflag", "VARCHAR", "actual, aggregate or forecast."),
        Column("pricetype", "VARCHAR", "Retail, Wholesale, Producer or Farm Gate."),
        Column("currency", "VARCHAR", "Currency of `price`, ISO 4217 as in use at the time."),
        Column("price", "DOUBLE", "Price in `currency`.", required=True),
        Column("usdprice", "DOUBLE", "Price in US dollars."),
    ),
)


@dlt.source(name=DATASET.name)
def wfp_food_prices(
    files: Sequence[LandedFile] = (),
    report: LandingReport | None = None,
    fetch: Fetch = link_local_file,
) -> DltResource:
    """Food prices from the yearly files in the landing zone."""
    return landing_resource(DATASET, files, report, fetch)
