"""Where taxi trips begin."""

from __future__ import annotations

import altair as alt
import streamlit as st

from lakehouse.dashboard.questions import PICK_UPS
from lakehouse.dashboard.service import ask, caption

TAXI_ZONES = 265


def page() -> None:
    """The busiest taxi zones."""
    st.title("Pick-ups")
    _busiest()


@st.fragment
def _busiest() -> None:
    """A fragment: a change in the box runs this alone, and so asks once."""
    locations = st.number_input("Locations", 1, TAXI_ZONES, 20, help="How many, the busiest first.", width=260)
    result = ask(PICK_UPS, locations=int(locations))
    if result is None:
        return
    rows = result.pandas()
    if rows.empty:
        st.info("There are no pick-ups in this release.")
        caption(result)
        return
    total, shown, share = st.columns(3)
    total.metric("Pick-ups", f"{rows.all_trips[0]:,}")
    shown.metric(f"Pick-ups at the first {len(rows)} of {rows.all_locations[0]} locations", f"{rows.trips.sum():,}")
    share.metric("Paid in all", f"${rows.all_amount_usd[0]:,.0f}")
    chart, table = st.columns([3, 2])
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            alt.X("trips:Q", title="pick-ups"),
            alt.Y("pickup_location_id:N", sort="-x", title="taxi zone"),
            tooltip=["pickup_location_id", alt.Tooltip("trips", format=","), "total_amount_usd"],
        )
    )
    chart.altair_chart(bars, width="stretch")
    table.dataframe(
        rows[["pickup_location_id", "trips", "total_amount_usd"]],
        column_config={
            "pickup_location_id": st.column_config.NumberColumn("taxi zone", format="%d"),
            "trips": st.column_config.NumberColumn("pick-ups", format="localized"),
            "total_amount_usd": st.column_config.NumberColumn("paid", format="dollar"),
        },
        hide_index=True,
    )
    caption(result)
