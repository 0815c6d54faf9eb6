"""The dashboard's frame: the release that is read, and the pages. Streamlit runs this file at every interaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import streamlit as st

from lakehouse.dashboard import collisions, food_prices, pick_ups, revenue, tables
from lakehouse.dashboard.service import age_of, client, explain
from lakehouse.query.engine.problems import QueryError

CURRENT = 0
"""The choice of whichever release readers get; releases are numbered from 1."""


def choose_release(listing: dict[str, Any]) -> None:
    """A box of the releases that are kept; the first choice follows what readers get."""
    cut_at = {found["release"]: datetime.fromisoformat(found["cut_at"]) for found in listing["releases"]}

    def label(number: int) -> str:
        if number == CURRENT:
            return f"{'held at' if listing['held'] else 'newest,'} {listing['release']}"
        return f"{number}, cut {age_of(datetime.now(UTC) - cut_at[number])} ago"

    chosen = st.session_state.get("release", CURRENT)
    if chosen not in (CURRENT, *cut_at):
        st.sidebar.info(f"Release {chosen} is no longer kept.")
        st.session_state["release"] = CURRENT
    st.sidebar.selectbox("Release", [CURRENT, *cut_at], format_func=label, key="release")
    if listing["held"]:
        st.sidebar.warning(f"Readers of {listing['environment']} are {listing['held']}: newer releases are not shown.")
    # A click runs this file again, as every interaction does.
    st.sidebar.button("Ask again", width="stretch")


def main() -> None:
    """One page, and beside it the release."""
    st.set_page_config("Lakehouse", page_icon=":material/water:", layout="wide")
    pages = [
        st.Page(pick_ups.page, title="Pick-ups", icon=":material/local_taxi:", url_path="pick-ups", default=True),
        st.Page(collisions.page, title="Collisions", icon=":material/car_crash:", url_path="collisions"),
        st.Page(revenue.page, title="Revenue", icon=":material/payments:", url_path="revenue"),
        st.Page(food_prices.page, title="Food prices", icon=":material/grocery:", url_path="food-prices"),
        st.Page(tables.page, title="All tables", icon=":material/table:", url_path="tables"),
    ]
    chosen = st.navigation(pages)
    try:
        listing = client().releases()
    except QueryError as error:
        explain(error)
        st.button("Ask again")
        return
    choose_release(listing)
    chosen.run()


main()
