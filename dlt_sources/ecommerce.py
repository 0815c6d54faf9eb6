"""What the customers of an online shop did."""

from __future__ import annotations

from collections.abc import Sequence

import dlt
from dlt.extract import DltResource

from dlt_sources.landed import Dataset, LandedFile, LandingReport
from dlt_sources.landing_files import Fetch, landing_resource, link_local_file
from dlt_sources.tables import Column

DATASET = Dataset(
    name="ecommerce",
    entity="events",
    description="Purchases and refunds of an online shop. One row per line of an invoice.",
    pattern="*events*",
    event_time="event_timestamp",
    columns=(
        Column("event_id", "BIGINT", "Number of the event.", required=True),
        Column("user_id", "BIGINT", "The customer; empty when nobody was signed in.", ("customer_id",)),
        Column("event_type", "VARCHAR", "purchase or refund.", required=True),
        Column("event_timestamp", "TIMESTAMP", "When it happened, UTC.", ("event_time",), required=True),
        Column("revenue", "DECIMAL(12,2)", "Amount in pounds; negative for a refund.", required=True),
        Column("invoice", "VARCHAR", "Invoice that the line belongs to."),
        Column("sku", "VARCHAR", "Article.", ("stock_code",)),
        Column("country", "VARCHAR", "Country of the customer."),
    ),
)


@dlt.source(name=DATASET.name)
def ecommerce(
    files: Sequence[LandedFile] = (),
    report: LandingReport | None = None,
    fetch: Fetch = link_local_file,
) -> DltResource:
    """Events of the online shop from the files in the landing zone."""
    return landing_resource(DATASET, files, report, fetch)
