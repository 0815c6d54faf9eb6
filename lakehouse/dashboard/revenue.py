"""What the online shop sold and took back."""

from __future__ import annotations

import altair as alt
import streamlit as st

from lakehouse.dashboard.questions import REVENUE
from lakehouse.dashboard.service import ask, caption


def page() -> None:
    """Revenue by day."""
    st.title("Revenue")
    _by_period()


@st.fragment
def _by_period() -> None:
    period = st.segmented_control("By", ["day", "week", "month"], default="day", required=True) or "day"
    result = ask(REVENUE, period=period)
    if result is None:
        return
    rows = result.pandas()
    net, sold, refunded, lines = st.columns(4)
    net.metric("Net revenue", f"£{rows.net.sum():,.0f}")
    sold.metric("Sold", f"£{rows.sold.sum():,.0f}")
    refunded.metric("Refunded", f"£{-rows.refunded.sum():,.0f}")
    lines.metric("Invoice lines sold", f"{rows.purchases.sum():,}")
    st.altair_chart(
        alt.Chart(rows).mark_line(interpolate="step-after").encode(
            alt.X("begins_on:T", title=None), alt.Y("net:Q", title=f"net revenue by {period}, £"),
            tooltip=["begins_on", alt.Tooltip("net", format=",.2f"), alt.Tooltip("purchases", format=",")],
        ),
        width="stretch",
    )  # fmt: skip
    st.dataframe(
        rows.iloc[::-1],
        column_config={"begins_on": period} | {
            name: st.column_config.NumberColumn(f"{name}, £", format="localized")
            for name in ("sold", "refunded", "net")
        },
        hide_index=True,
        height=280,
    )  # fmt: skip
    caption(result)
