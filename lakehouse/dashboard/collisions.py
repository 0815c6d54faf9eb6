"""Collisions by time, borough and cause."""

from __future__ import annotations

import altair as alt
import streamlit as st

from lakehouse.dashboard.questions import CAUSES, COLLISIONS
from lakehouse.dashboard.service import ask, caption

MEASURES = {"Collisions": "crashes", "Persons injured": "persons_injured", "Persons killed": "persons_killed"}


def page() -> None:
    """Two questions, each in a fragment: what is changed asks again alone."""
    st.title("Collisions")
    _by_time_and_borough()
    _by_cause()


@st.fragment
def _by_time_and_borough() -> None:
    chosen = st.segmented_control("Counted", list(MEASURES), default="Collisions", required=True)
    result = ask(COLLISIONS)
    if result is None:
        return
    rows, measure = result.pandas(), MEASURES[chosen or "Collisions"]
    for column, (title, name) in zip(st.columns(3), MEASURES.items(), strict=True):
        column.metric(title, f"{rows[name].sum():,}")
    # Totals before drawing: a bar is one number, not a stack of months.
    boroughs = rows.groupby("borough", as_index=False)[measure].sum()
    st.altair_chart(
        alt.Chart(rows, title="by month").mark_bar().encode(
            alt.X("yearmonth(crash_month):T", title=None), alt.Y(f"{measure}:Q", title=chosen),
            alt.Color("borough:N", legend=alt.Legend(orient="bottom")),
            tooltip=["crash_month", "borough", alt.Tooltip(measure, format=",")],
        ),
        width="stretch",
    )  # fmt: skip
    st.altair_chart(
        alt.Chart(boroughs, title="by borough").mark_bar().encode(
            alt.X(f"{measure}:Q", title=chosen), alt.Y("borough:N", sort="-x", title=None),
            alt.Color("borough:N", legend=None), tooltip=["borough", alt.Tooltip(measure, format=",")],
        ),
        width="stretch",
    )  # fmt: skip
    caption(result)


@st.fragment
def _by_cause() -> None:
    causes = st.number_input("Causes", 1, 100, 12, help="How many, the most frequent first.", width=260)
    result = ask(CAUSES, causes=int(causes))
    if result is None:
        return
    rows = result.pandas()
    chart, table = st.columns(2)
    chart.altair_chart(
        alt.Chart(rows, title="by cause").mark_bar().encode(
            alt.X("crashes:Q", title="Collisions"),
            alt.Y("cause:N", sort="-x", title=None, axis=alt.Axis(labelLimit=260)),
            tooltip=["cause", alt.Tooltip("crashes", format=",")],
        ),
        width="stretch",
    )  # fmt: skip
    labels = {"crashes": "collisions", "persons_injured": "injured", "persons_killed": "killed"}
    table.dataframe(rows.rename(columns=labels), hide_index=True)
    caption(result)
